"""A dataset by its name on the Hugging Face hub."""

from collections.abc import Iterator, Mapping
from functools import cached_property

from unlearn_pl.data.io.in_memory import kept
from unlearn_pl.recording import Recorded


class HubDataset(Recorded):
    """A dataset of the Hugging Face hub, or any other that ``datasets.load_dataset`` loads.

    Args:
        name: name on the hub, such as ``muse-bench/MUSE-News``.
        config: name of its configuration; None if it has only one.
        split: name of its split.
    """

    def __init__(self, name: str, config: str | None = None, split: str = "train") -> None:
        self.name = name
        self.config = config
        self.split = split

    def rows(self) -> Iterator[Mapping[str, object]]:
        """Its rows, read from disk one after another."""
        return iter(kept(self._dataset))

    def table(self) -> object:
        """The dataset of ``datasets``, in which rows have numbers."""
        return kept(self._dataset)

    def fingerprint(self) -> str:
        """A fingerprint of its contents."""
        return str(kept(self._dataset)._fingerprint)

    @cached_property
    def _dataset(self):  # type: ignore[no-untyped-def]  # datasets takes a second to import, so there is no type to name
        from datasets import load_dataset

        return load_dataset(self.name, self.config, split=self.split)

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.name, self.config, self.split)))
