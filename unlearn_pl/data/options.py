"""Arguments that all data modules share."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

from unlearn_pl.data.selection.selected_source import SelectedSource
from unlearn_pl.data.text.template import Template


class DataOptions(TypedDict, total=False):
    """The arguments of :class:`~unlearn_pl.data.UnlearningDataModule` that every benchmark passes on.

    Attributes:
        streams: names of the training streams to load; by default those that the module's objectives read.
        splits: names of the evaluation splits to load; by default all that the benchmark evaluates.
        batch_size: examples per stream and optimizer step, over all devices.
        micro_batch_size: examples per device and forward.
        eval_batch_size: examples per device in evaluation.
        max_eval_examples: evaluate only the first questions of each split.
        template: lays out question and answer; by default the tokenizer's chat template, or plain text if it has none.
        max_length: maximum number of tokens of an example.
        truncate: cut off the beginning of the question of longer examples instead of raising ValueError.
        num_workers: worker processes per data loader.
        seed: seed of the order of the examples.
        selected: name of a stream to the part of a stream that it holds.
    """

    streams: Sequence[str] | None
    splits: Sequence[str] | None
    batch_size: int
    micro_batch_size: int
    eval_batch_size: int
    max_eval_examples: int | None
    template: Template | None
    max_length: int | None
    truncate: bool
    num_workers: int
    seed: int
    selected: Mapping[str, SelectedSource] | None
