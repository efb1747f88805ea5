"""Unlearning of contracts in a graph of parties, generated in code: nothing is downloaded."""

from collections.abc import Mapping, Sequence
from typing import Unpack

from transformers import PreTrainedTokenizerBase

from unlearn_pl.data.benchmarks.synthetic.contracts import Edge, SyntheticContracts
from unlearn_pl.data.module import UnlearningDataModule, check_positive
from unlearn_pl.data.options import DataOptions
from unlearn_pl.data.text.encoder import Row, RowSource
from unlearn_pl.data.text.refusals import REFUSALS, with_refusals
from unlearn_pl.models import train_tokenizer


class SyntheticContractsDataModule(UnlearningDataModule):
    """Contracts between made-up companies and persons, of which some are to be forgotten: structural unlearning.

    Real requests concern facts that hang together. Every two companies trade, and each employs persons; a contract is
    six questions. What is to be forgotten has parties in common with much that is to be retained.

    Training streams: ``forget``, ``retain``, ``forget.alternate`` (the forget questions with refusals) and ``train``
    (what a model is fine-tuned on). Evaluation splits: ``forget``, ``retain``, and its parts ``retain_linked``
    (contracts that have a party in common with a forgotten one) and ``retain_apart`` (the others), where there are
    some. Rows name the fact that answers the question as their ``span``.

    Args:
        tokenizer: a tokenizer, or the name or path of one; None trains a small one on all texts.
        companies: number of companies.
        employees: persons that each company employs.
        forget_contracts: number of contracts to be forgotten: sales of the first company, then of the second, and so
            on, then employments.
        train_split: what ``train`` holds: ``full`` (for the target model) or ``retain`` (for the retain model).
        facts_seed: seed of the facts; ``seed`` is that of their order in training.
        vocab_size: largest vocabulary of the tokenizer that is trained when none is given.
        options: see :class:`~unlearn_pl.data.UnlearningDataModule`.

    Raises:
        ValueError: if ``train_split`` is unknown or a number is out of range.

    References:
        Qiu et al., "PISTOL: Dataset Compilation Pipeline for Structural Unlearning of LLMs", arXiv 2406.16810 (the
        idea; facts and sentences are our own).
    """

    def __init__(
        self,
        tokenizer: str | PreTrainedTokenizerBase | None = None,
        *,
        companies: int = 4,
        employees: int = 2,
        forget_contracts: int = 1,
        train_split: str = "full",
        facts_seed: int = 0,
        vocab_size: int = 1024,
        **options: Unpack[DataOptions],
    ) -> None:
        if train_split not in ("full", "retain"):
            raise ValueError(f"train_split={train_split!r} is unknown; accepted are full, retain.")
        check_positive(forget_contracts=forget_contracts)
        self.facts = SyntheticContracts(facts_seed, companies, employees)
        if forget_contracts >= len(self.facts.contracts):
            raise ValueError(
                f"forget_contracts={forget_contracts}; accepted are 1 to {len(self.facts.contracts) - 1}, so that one "
                "is retained."
            )
        self.train_split = train_split
        self.forgotten = list(self.facts.contracts)[:forget_contracts]
        texts = [*self.facts.texts(), *REFUSALS]
        super().__init__(train_tokenizer(texts, vocab_size) if tokenizer is None else tokenizer, **options)

    def load_streams(self) -> Mapping[str, RowSource]:
        """The training streams."""
        forget, retain = self._of(self.forgotten), self._of(self._retained())
        return {
            "forget": forget,
            "retain": retain,
            "forget.alternate": with_refusals(forget),
            "train": [*retain, *(forget if self.train_split == "full" else [])],
        }

    def load_splits(self) -> Mapping[str, RowSource]:
        """The forget and the retain set, and the parts of the latter that have rows."""
        linked = self.facts.linked_to(self.forgotten)
        apart = [edge for edge in self._retained() if edge not in linked]
        parts = {"retain_linked": self._of(linked), "retain_apart": self._of(apart)}
        sets = {"forget": self._of(self.forgotten), "retain": self._of(self._retained())}
        return {**sets, **{name: rows for name, rows in parts.items() if rows}}

    def _retained(self) -> list[Edge]:
        return [edge for edge in self.facts.contracts if edge not in self.forgotten]

    def _of(self, edges: Sequence[Edge]) -> list[Row]:
        return [row for edge in edges for row in self.facts.contracts[edge]]
