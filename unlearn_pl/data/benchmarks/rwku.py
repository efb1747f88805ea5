"""The RWKU benchmark: unlearning of real persons that a pretrained model knows."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import ClassVar, Unpack

from transformers import PreTrainedTokenizerBase

from unlearn_pl.data.benchmarks.rwku_rows import LEVELS, fact, passage, probe, reasoning, topic, truthful
from unlearn_pl.data.evaluation.evaluation_row import EvaluationRow, SplitSource
from unlearn_pl.data.io.entries import Table
from unlearn_pl.data.io.find_file import find_file
from unlearn_pl.data.io.hub_dataset import HubDataset
from unlearn_pl.data.io.record import Record, check_columns, text_of
from unlearn_pl.data.io.rows import read_records
from unlearn_pl.data.module import UnlearningDataModule, check_positive
from unlearn_pl.data.options import DataOptions
from unlearn_pl.data.streams.datasets import TrainingDataset
from unlearn_pl.data.streams.documents import Documents
from unlearn_pl.data.streams.joined import Joined
from unlearn_pl.data.streams.source import Source, StreamSource
from unlearn_pl.data.text.encoder import Encoder

PARSERS: Mapping[str, Callable[[Record], EvaluationRow]] = {
    **dict.fromkeys(LEVELS, probe),
    "utility_general": topic,
    "utility_reason": reasoning,
    "utility_truthfulness": truthful,
    "utility_factuality": fact,
    "mia_forget": passage,
    "mia_retain": passage,
}
"""Evaluation split, and name of its table, to what makes a row of a record."""
OF_PERSONS = frozenset([*LEVELS, "mia_forget"])
"""Tables whose rows all name a person, without whom they would count as rows about every target."""


class RWKUDataModule(UnlearningDataModule):
    """RWKU from the Hugging Face hub (``jinzhuoran/RWKU``), or from a folder with its tables.

    A number of well-known persons are to be forgotten at once; the benchmark's batch setting has the first 50 of 200.
    There is no corpus of the truth: texts about the persons that the model has written itself are the forget set, and
    the same about the other persons the retain set.

    Training streams: ``forget`` and ``retain``, such texts, cut into chunks, and ``train``, both of them. Evaluation
    splits: ``forget_level1`` (sentences to complete), ``forget_level2`` (questions), ``forget_level3`` (adversarial
    questions), ``neighbor_level1`` and ``neighbor_level2`` (about what is close to the persons); if listed in
    ``splits``, also ``utility_general`` (MMLU), ``utility_reason`` (BBH), ``utility_truthfulness`` (TruthfulQA's MC1),
    ``utility_factuality`` (TriviaQA), and ``mia_forget`` and ``mia_retain``, texts for membership inference. Rows
    about other persons are left out of each.

    The names of tables and columns are those that the authors' scripts read; they were not checked against the data
    themselves. A column that is missing raises an error that names those that are there.

    What differs from the authors: ``Answer:`` stands at the end of the question and not of the prompt behind the chat
    template; MMLU and TruthfulQA are asked without examples; ``utility_fluency``, which has no correct answers, is not
    there.

    Args:
        tokenizer: a tokenizer, or the name or path of one; by default that of the module's model.
        path: folder with files that are named after the tables (``forget_level1.json``, also Parquet shards); None for
            the hub. Tables that are not loaded may be missing.
        targets: the persons to be forgotten: how many of ``forget_target``, from the first, or their names.
        passages: table of the texts: ``train_positive_llama3``, ``train_positive_phi3`` or ``train_original_passage``.
        retain: another retain corpus: a file whose column ``text`` is read, a dataset of the hub, or any
            :class:`~unlearn_pl.data.Source`.
        chunk_length: most tokens of an example.
        options: see :class:`~unlearn_pl.data.UnlearningDataModule`.

    Raises:
        ValueError: if a number is not positive; from ``setup``, if a person is unknown, or a table or a column missing.

    References:
        Jin et al., "RWKU: Benchmarking Real-World Knowledge Unlearning for Large Language Models", NeurIPS 2024,
        arXiv 2406.10890.
    """

    default_splits: ClassVar[Sequence[str]] = LEVELS

    def __init__(
        self,
        tokenizer: str | PreTrainedTokenizerBase | None = None,
        *,
        path: str | None = None,
        targets: int | Sequence[str] = 50,
        passages: str = "train_positive_llama3",
        retain: str | HubDataset | Source | None = None,
        chunk_length: int = 512,
        **options: Unpack[DataOptions],
    ) -> None:
        super().__init__(tokenizer, **options)
        if isinstance(targets, str) or (not isinstance(targets, int) and not targets):
            raise ValueError(f"targets={targets!r}; accepted are a number, or a list of names.")
        check_positive(targets=targets if isinstance(targets, int) else len(targets))
        check_positive(least=2, chunk_length=chunk_length)  # the first token is not scored
        self.path = path
        self.targets = targets
        self.passages = passages
        self.retain = retain
        self.chunk_length = chunk_length

    def hub_datasets(self) -> Sequence[str]:
        """``jinzhuoran/RWKU``, unless the files are in a folder."""
        return () if self.path is not None else ("jinzhuoran/RWKU",)

    def load_streams(self) -> Mapping[str, StreamSource]:
        """The three training streams, each read on demand."""
        forget = ReadTexts(partial(self._passages, True), self.chunk_length)
        retain = self._retained()
        return {"forget": forget, "retain": retain, "train": Joined([retain, forget])}

    def load_splits(self) -> Mapping[str, SplitSource]:
        """The evaluation splits, each read on demand."""
        return {name: partial(self._about_targets, name, parse) for name, parse in PARSERS.items()}

    @cached_property
    def subjects(self) -> list[str]:
        """The persons to be forgotten.

        Raises:
            ValueError: if there are fewer than asked for, or a name is not in the table.
        """
        known = read_records(self._table("forget_target", "train"), lambda row: text_of(row, "target"), "targets")
        if isinstance(self.targets, int):
            if self.targets > len(known):
                raise ValueError(f"targets={self.targets}; accepted are 1 to {len(known)}, or a list of names.")
            return known[: self.targets]
        if unknown := sorted(set(self.targets) - set(known)):
            raise ValueError(f"targets {unknown} are not in forget_target, which has {len(known)} names.")
        return list(self.targets)

    def _retained(self) -> Source:
        if isinstance(self.retain, Source):
            return self.retain
        if self.retain is not None:
            return Documents(self.retain, chunk_length=self.chunk_length, on_bad_row="skip")
        return ReadTexts(partial(self._passages, False), self.chunk_length)

    def _passages(self, about_targets: bool) -> list[str]:
        wanted = set(self.subjects)
        table = self._table(self.passages, "train")
        rows = read_records(table, lambda row: (text_of(row, "subject"), text_of(row, "text")), self.passages)
        found = [text for subject, text in rows if (subject in wanted) == about_targets]
        if not found:
            others = "targets" if about_targets else "persons who are no targets; give another corpus as retain=..."
            raise ValueError(f"{self.passages} has no text about {others}.")
        return found

    def _about_targets(self, name: str, parse: Callable[[Record], EvaluationRow]) -> list[EvaluationRow]:
        wanted = set(self.subjects)

        def parse_wanted(row: Record) -> EvaluationRow | None:
            check_columns(row, ("subject",) if name in OF_PERSONS else ())
            return parse(row) if row.get("subject", None) is None or row["subject"] in wanted else None

        found = [row for row in read_records(self._table(name, "test"), parse_wanted, name) if row is not None]
        if not found:
            raise ValueError(f"{name} has no row about the {len(wanted)} targets, such as {self.subjects[0]!r}.")
        return found

    def _table(self, name: str, split: str) -> Table:
        if self.path is None:
            return HubDataset("jinzhuoran/RWKU", name, split)
        return find_file(self.path, [name, f"{name}/{split}"])


class ReadTexts(Source):
    """Texts that a function reads when they are needed, cut into chunks.

    Args:
        read: returns the texts.
        chunk_length: most tokens of an example.
    """

    def __init__(self, read: Callable[[], list[str]], chunk_length: int) -> None:
        self.read = read
        self.chunk_length = chunk_length

    @cached_property
    def _documents(self) -> Documents:
        return Documents(self.read(), chunk_length=self.chunk_length)

    def prepare(self, name: str, encoder: Encoder) -> None:
        """Fills the cache of tokens."""
        self._documents.prepare(name, encoder)

    def dataset(self, name: str, encoder: Encoder, seed: int = 0) -> TrainingDataset:
        """The chunks."""
        return self._documents.dataset(name, encoder, seed)
