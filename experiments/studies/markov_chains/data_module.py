"""Streams and splits of the three chains."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar, Unpack

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from experiments.studies.markov_chains.chain import FORGET1, FORGET2, RETAIN, STATES
from experiments.studies.markov_chains.sequences import SequenceRow, Sequences
from unlearn_pl.data import DataOptions, UnlearningDataModule

CHAINS = {"retain": RETAIN, "forget1": FORGET1, "forget2": FORGET2}
TEST_SHARE = 0.2


class MarkovChainsDataModule(UnlearningDataModule):
    """Sequences of the retain chain and of two forget chains, 80 % to train on and 20 % to test with.

    Training streams: ``retain``, ``forget1``, ``forget2``, ``forget`` (the latter two together) and ``train`` (what a
    model is trained on at first). Evaluation splits: ``retain``, ``forget1``, ``forget2``.

    Args:
        train_chains: names of the chains that ``train`` holds.
        retain_length: states in a sequence of the retain chain.
        forget1_length: states in a sequence of the first forget chain.
        forget2_length: states in a sequence of the second forget chain.
        retain_sequences: of them.
        forget_sequences: of each forget chain.
        chains_seed: seed of the sequences; ``seed`` is that of the order in which they are seen.
        options: see :class:`~unlearn_pl.data.UnlearningDataModule`.

    Raises:
        ValueError: if a chain is unknown, a length is below 2, or a number of sequences is below 5.
    """

    default_streams: ClassVar[Sequence[str]] = ("forget", "retain")

    def __init__(
        self,
        *,
        train_chains: Sequence[str] = ("retain", "forget1", "forget2"),
        retain_length: int = 20,
        forget1_length: int = 20,
        forget2_length: int = 5,
        retain_sequences: int = 10_000,
        forget_sequences: int = 5_000,
        chains_seed: int = 0,
        **options: Unpack[DataOptions],
    ) -> None:
        if not train_chains or not set(train_chains) <= set(CHAINS):
            raise ValueError(f"train_chains={train_chains}; accepted are one or more of {list(CHAINS)}.")
        self.lengths = {"retain": retain_length, "forget1": forget1_length, "forget2": forget2_length}
        self.counts = {"retain": retain_sequences, "forget1": forget_sequences, "forget2": forget_sequences}
        for name, length in self.lengths.items():
            if length < 2:
                raise ValueError(f"{name}_length={length} must be at least 2: the first state is not predicted.")
        if min(self.counts.values()) < round(1 / TEST_SHARE):
            raise ValueError(f"numbers of sequences are {self.counts}; accepted: at least {round(1 / TEST_SHARE)}.")
        self.train_chains = train_chains
        self.chains_seed = chains_seed
        super().__init__(state_tokenizer(), **options)

    def load_streams(self) -> Mapping[str, Sequences]:
        """The five training streams."""
        shown = {name: sequences[self._tests(name) :] for name, sequences in self._sequences.items()}
        own = {name: Sequences(sequences.tolist()) for name, sequences in shown.items()}
        forget = Sequences([*own["forget1"].sequences, *own["forget2"].sequences])
        train = Sequences([sequence for name in self.train_chains for sequence in own[name].sequences])
        return {**own, "forget": forget, "train": train}

    def load_splits(self) -> Mapping[str, list[SequenceRow]]:
        """The three evaluation splits."""
        tests = {name: sequences[: self._tests(name)].tolist() for name, sequences in self._sequences.items()}
        return {name: [SequenceRow(tuple(sequence)) for sequence in rows] for name, rows in tests.items()}

    @cached_property
    def _sequences(self) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(self.chains_seed)
        return {name: chain.sample(self.counts[name], self.lengths[name], generator) for name, chain in CHAINS.items()}

    def _tests(self, name: str) -> int:
        return round(TEST_SHARE * self.counts[name])


def state_tokenizer() -> PreTrainedTokenizerFast:
    """Reads and writes states as words: ``"3 4 3"`` is ``[3, 4, 3]``."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({str(state): state for state in range(STATES)}))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # Any state may pad: what is padding follows from the lengths.
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="0")
