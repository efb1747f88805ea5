"""Base data module of images with prompts."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property

from torch.utils.data import DataLoader

from unlearn_pl.data.canvas.dataset import PromptedImages, PromptsToSample, collate_prompted
from unlearn_pl.data.stream_module import BatchOf, StreamDataModule, select
from unlearn_pl.types import Batch


class PromptedDataModule(StreamDataModule):
    """Streams of images with prompts, and evaluation splits of prompts; subclasses load them."""

    @abstractmethod
    def load_streams(self) -> Mapping[str, PromptedImages]:
        """All training streams by name."""

    @abstractmethod
    def load_splits(self) -> Mapping[str, PromptsToSample | PromptedImages]:
        """All evaluation splits by name: prompts to make images of, or images to compare with."""

    splits: Sequence[str] | None = None

    def question_hashes(self) -> dict[str, dict[int, str]]:
        """Evaluation split to number of the row to a hash of it."""
        return {name: {i: rows.hash_of(i)[:8] for i in range(len(rows))} for name, rows in self._evaluation.items()}

    def stream_fingerprint(self, stream: str) -> str:
        """SHA-256 of the images and texts of ``stream``."""
        return self.load_streams()[stream].fingerprint()

    def setup(self, stage: str | None = None) -> None:
        """Loads what ``stage`` needs, so that errors surface before training starts."""
        super().setup(stage)
        _ = self._evaluation

    def val_dataloader(self) -> dict[str, DataLoader]:
        """A loader per split."""
        return {name: self._eval_loader(rows, collate_prompted) for name, rows in self._evaluation.items()}

    test_dataloader = val_dataloader

    @cached_property
    def _evaluation(self) -> Mapping[str, PromptsToSample | PromptedImages]:
        return select(self.load_splits(), self.splits, "splits")

    def sample(self, name: str, size: int) -> list[Batch]:
        """See :meth:`StreamProvider.sample`; of streams only."""
        return super().sample(name, size) if name in self._sources else []

    def _batch_maker(self, dataset: PromptedImages) -> BatchOf:
        return BatchOf(dataset, collate_prompted, takes_draws=False)
