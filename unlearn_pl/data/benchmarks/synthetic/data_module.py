"""A complete unlearning benchmark about fictitious authors, generated in code: nothing is downloaded."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Unpack

from transformers import PreTrainedTokenizerBase

from unlearn_pl.data.benchmarks.synthetic.authors import SyntheticAuthors
from unlearn_pl.data.module import UnlearningDataModule
from unlearn_pl.data.options import DataOptions
from unlearn_pl.data.text.encoder import Row, RowSource
from unlearn_pl.data.text.refusals import with_refusals
from unlearn_pl.models import train_tokenizer


class SyntheticAuthorsDataModule(UnlearningDataModule):
    """Fictitious authors in TOFU's schema, small enough for a tiny model on a laptop's CPU.

    Training streams: ``forget``, ``retain``, ``forget.alternate`` (the forget questions, each with a refusal that
    changes from round to round), ``train`` (what a model is fine-tuned on) and ``holdout`` (authors that no model is
    trained on). Evaluation splits: ``forget``, ``retain``, ``real_authors``, ``world_facts`` and, if listed in
    ``splits``, ``holdout``.

    What TOFU tests with real authors and facts of the world stands for knowledge from pre-training. A tiny model has
    none, so ``real_authors`` and ``world_facts`` are made up as well and are part of every ``train`` stream, but
    of no unlearning stream: they measure damage to knowledge that unlearning does not rehearse.

    Args:
        tokenizer: a tokenizer, or the name or path of one; None trains a small one on :meth:`texts`.
        forget_authors: authors of the forget set, ten questions each.
        retain_authors: authors of the retain set, ten questions each.
        holdout_authors: authors that no model is ever trained on, ten questions each.
        general_facts: questions each of ``real_authors`` and ``world_facts``.
        train_split: what ``train`` holds besides the general facts: ``full`` (retain and forget rows, for the
            target model) or ``retain`` (for the retain model).
        facts_seed: seed of the facts; ``seed`` is that of their order in training.
        vocab_size: largest vocabulary of the tokenizer that is trained when none is given.
        options: see :class:`~unlearn_pl.data.UnlearningDataModule`.

    Raises:
        ValueError: if ``train_split`` is unknown or a size is out of range.
    """

    default_splits: ClassVar[Sequence[str]] = ("forget", "retain", "real_authors", "world_facts")

    def __init__(
        self,
        tokenizer: str | PreTrainedTokenizerBase | None = None,
        *,
        forget_authors: int = 10,
        retain_authors: int = 10,
        holdout_authors: int = 10,
        general_facts: int = 20,
        train_split: str = "full",
        facts_seed: int = 0,
        vocab_size: int = 1024,
        **options: Unpack[DataOptions],
    ) -> None:
        if train_split not in ("full", "retain"):
            raise ValueError(f"train_split={train_split!r} is unknown; accepted are full, retain.")
        self.train_split = train_split
        self.facts = SyntheticAuthors(facts_seed, forget_authors, retain_authors, holdout_authors, general_facts)
        super().__init__(train_tokenizer(self.texts(), vocab_size) if tokenizer is None else tokenizer, **options)

    def load_streams(self) -> Mapping[str, RowSource]:
        """The training streams."""
        return {
            "forget": self.facts.forget,
            "retain": self.facts.retain,
            "forget.alternate": with_refusals(self.facts.forget),
            "train": self._train,
            "holdout": self.facts.holdout,
        }

    def load_splits(self) -> Mapping[str, RowSource]:
        """The four evaluation splits of TOFU, and ``holdout``."""
        return {
            "forget": self.facts.forget,
            "retain": self.facts.retain,
            "real_authors": self.facts.real_authors,
            "world_facts": self.facts.world_facts,
            "holdout": self.facts.holdout,
        }

    def texts(self) -> list[str]:
        """Every text of the benchmark once, to train a tokenizer on."""
        return self.facts.texts()

    def _train(self) -> list[Row]:
        facts = self.facts
        forget = facts.forget if self.train_split == "full" else []
        return [*facts.retain, *forget, *facts.real_authors, *facts.world_facts]
