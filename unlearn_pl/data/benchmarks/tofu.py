"""The TOFU benchmark: unlearning of some of 200 fictitious authors."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Unpack

from transformers import PreTrainedTokenizerBase

from unlearn_pl.data.io.hub_dataset import HubDataset
from unlearn_pl.data.io.rows import read_lines, read_rows
from unlearn_pl.data.module import UnlearningDataModule, check_positive
from unlearn_pl.data.options import DataOptions
from unlearn_pl.data.text.alternates import with_alternates
from unlearn_pl.data.text.encoder import Row, RowSource
from unlearn_pl.data.text.refusals import REFUSALS, with_refusals

COMPLEMENT = {"forget01": "retain99", "forget05": "retain95", "forget10": "retain90"}
"""Retain split of every forget split; together they have all 4,000 rows."""

HOLDOUT = {"forget01": "holdout01", "forget05": "holdout05", "forget10": "holdout10"}
"""Holdout split of every forget split, with as many rows, none of which is among the 4,000."""

_QA = ("question", "answer")
_OPTIONS = (*_QA, "perturbed_answer")
_PARAPHRASED = (*_OPTIONS, "paraphrased_answer")


class TOFUDataModule(UnlearningDataModule):
    """TOFU from the Hugging Face hub (``locuslab/TOFU``), or from a folder with its files.

    Training streams: ``forget``, ``retain``, ``forget.alternate`` (the forget questions, each with a refusal that
    changes from round to round), ``train`` (what a model is fine-tuned on) and ``holdout`` (questions like those of the
    forget set about authors that no model is trained on). Evaluation splits: ``forget``, ``retain``, ``real_authors``,
    ``world_facts`` and, if listed in ``splits``, ``holdout``, which PrivLeak and membership inference need.

    ``forget_size`` and ``retain_size`` make a smaller benchmark: they apply to unlearning, fine-tuning and evaluation
    alike, so that a model that was fine-tuned on ``train`` knows exactly what is forgotten, retained and evaluated.
    ``holdout`` has as many rows as the forget set.

    Args:
        tokenizer: a tokenizer, or the name or path of one; by default that of the module's model.
        forget_split: ``forget01``, ``forget05`` or ``forget10``: 1, 5 or 10 percent of the authors.
        path: folder with ``<split>.json`` files (JSON Lines) and ``idontknow.jsonl`` (a refusal a line); None for the
            hub, where the refusals are this library's own. Files of streams and splits that are not loaded may be
            missing.
        retain_split: ``retain99``, ``retain95`` or ``retain90``; the complement of ``forget_split`` by default.
        holdout_split: ``holdout01``, ``holdout05`` or ``holdout10``; that of the size of ``forget_split`` by default.
        train_split: what ``train`` holds: ``full`` (the complement and the forget rows, for the target model), or a
            retain split (for the retain model, which never sees the forget rows).
        forget_size: only the first rows of the forget set; None for all.
        retain_size: only the first rows of the retain set; None for all.
        alternates: file with other answers to the forget questions (columns ``question`` and ``answer``, one answer or
            a list), which replace the refusals in ``forget.alternate``; AltPO needs them.
        options: see :class:`~unlearn_pl.data.UnlearningDataModule`.

    Raises:
        ValueError: if a split is unknown or a size not positive; from ``setup``, if a file or a column is missing.

    References:
        Maini et al., "TOFU: A Task of Fictitious Unlearning for LLMs", arXiv 2401.06121. The holdout splits are
        those of Dorna et al., "OpenUnlearning", arXiv 2506.12618.
    """

    default_splits: ClassVar[Sequence[str]] = ("forget", "retain", "real_authors", "world_facts")

    def __init__(
        self,
        tokenizer: str | PreTrainedTokenizerBase | None = None,
        forget_split: str = "forget10",
        *,
        path: str | None = None,
        retain_split: str | None = None,
        holdout_split: str | None = None,
        train_split: str = "full",
        forget_size: int | None = None,
        retain_size: int | None = None,
        alternates: str | None = None,
        **options: Unpack[DataOptions],
    ) -> None:
        super().__init__(tokenizer, **options)
        _check_accepted("forget_split", forget_split, COMPLEMENT)
        _check_accepted("retain_split", retain_split, (None, *COMPLEMENT.values()))
        _check_accepted("holdout_split", holdout_split, (None, *HOLDOUT.values()))
        _check_accepted("train_split", train_split, ("full", *COMPLEMENT.values()))
        check_positive(forget_size=forget_size, retain_size=retain_size)
        if retain_split is not None and retain_split > COMPLEMENT[forget_split]:
            raise ValueError(
                f"retain_split={retain_split!r} holds rows of forget_split={forget_split!r}; "
                f"accepted are {', '.join(s for s in COMPLEMENT.values() if s <= COMPLEMENT[forget_split])}."
            )
        self.forget_split = forget_split
        self.retain_split = retain_split or COMPLEMENT[forget_split]
        self.holdout_split = holdout_split or HOLDOUT[forget_split]
        self.train_split = train_split
        self.forget_size = forget_size
        self.retain_size = retain_size
        self.path = path
        self.alternates = alternates

    def hub_datasets(self) -> Sequence[str]:
        """``locuslab/TOFU``, unless the files are in a folder."""
        return () if self.path is not None else ("locuslab/TOFU",)

    def load_streams(self) -> Mapping[str, RowSource]:
        """The training streams, each read on demand."""
        return {
            "forget": self._forget,
            "retain": partial(self._retain, self.retain_split),
            "forget.alternate": self._alternate,
            "train": self._train,
            "holdout": self._holdout,
        }

    def load_splits(self) -> Mapping[str, RowSource]:
        """The four evaluation splits of TOFU, and ``holdout``, each read on demand."""
        return {
            "forget": lambda: self._read(f"{self.forget_split}_perturbed", _PARAPHRASED)[: self.forget_size],
            "retain": lambda: self._read("retain_perturbed", _PARAPHRASED)[: self.retain_size],
            "real_authors": lambda: self._read("real_authors_perturbed", _OPTIONS),
            "world_facts": lambda: self._read("world_facts_perturbed", _OPTIONS),
            "holdout": self._holdout,
        }

    def _forget(self) -> list[Row]:
        return self._read(self.forget_split, _QA)[: self.forget_size]

    def _holdout(self) -> list[Row]:
        return self._read(self.holdout_split, _QA)[: self.forget_size]

    def _alternate(self) -> list[Row]:
        if self.alternates is None:
            return with_refusals(self._forget(), self._refusals())
        return with_alternates(self._forget(), read_rows(self.alternates), self.alternates)

    def _retain(self, split: str) -> list[Row]:
        return self._read(split, _QA)[: self.retain_size]

    def _train(self) -> list[Row]:
        if self.train_split == "full":
            return self._retain(COMPLEMENT[self.forget_split]) + self._forget()
        return self._retain(self.train_split)

    def _refusals(self) -> Sequence[str]:
        return REFUSALS if self.path is None else read_lines(Path(self.path) / "idontknow.jsonl")

    def _read(self, split: str, columns: Sequence[str]) -> list[Row]:
        on_the_hub = HubDataset("locuslab/TOFU", split)
        return read_rows(on_the_hub if self.path is None else Path(self.path) / f"{split}.json", columns)


def _check_accepted(argument: str, value: str | None, accepted: Iterable[str | None]) -> None:
    if value not in accepted:
        raise ValueError(f"{argument}={value!r} is unknown; accepted are {', '.join(map(str, accepted))}.")
