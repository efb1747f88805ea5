"""The nouns that every layer shares: a batch of tokens, and what one forward of a stream gives.

Shape letters used everywhere: B examples, T tokens, V vocabulary entries, D hidden units, K objectives.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, TypedDict, cast

import torch
from torch import Tensor

IGNORE_INDEX = -100
"""Label of a position that is not scored (prompt, padding)."""

Role = Literal["forget", "retain"]
MeanOver = Literal["tokens", "sequences"]


class TokenBatch(TypedDict):
    """One stream of one micro-batch; right-padded.

    Attributes:
        input_ids: ``[B, T]`` token ids.
        attention_mask: ``[B, T]``, 1 up to each example's length (never derived from the pad id).
        labels: ``[B, T]``, equal to ``input_ids`` where scored and ``IGNORE_INDEX`` elsewhere (not shifted).
        index: ``[B]`` position of each example in its dataset.
        choice: ``[B]`` which candidate answer of the example a row holds (evaluation splits only).
        target: ``[B]`` which candidate answer is the right one (multiple-choice questions only).
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    index: Tensor
    choice: NotRequired[Tensor]
    target: NotRequired[Tensor]


class PromptBatch(TypedDict):
    """Prompts to continue, left-padded, with the answers to compare the continuations with.

    Attributes:
        prompt_ids: ``[B, T]`` token ids.
        prompt_mask: ``[B, T]``, 0 on the padding at the left.
        index: ``[B]`` position of each example in its dataset.
        answer: B ground-truth answers.
        draft_ids: ``[B, D]`` token ids that may well follow the prompts, right-padded; a model is only compared with
            them.
        draft_mask: ``[B, D]``, 0 on their padding.
    """

    prompt_ids: Tensor
    prompt_mask: Tensor
    index: Tensor
    answer: list[str]
    draft_ids: NotRequired[Tensor]
    draft_mask: NotRequired[Tensor]


Detail = Literal["logps", "greedy", "moments", "text"]
"""What an evaluation may ask about the scored tokens, beyond their sum; see :class:`Score`."""


Reads = Literal["nothing", "answers", "candidates"]
"""What an evaluation reads of a dataloader: nothing, the right answers (candidate 0) alone, or all candidates."""


class Score(TypedDict):
    """Teacher-forced scores of B answers, from one forward.

    Attributes:
        index: ``[B]`` position of each example in its dataset.
        choice: ``[B]`` number of the candidate answer.
        nll: ``[B]`` sum over the scored tokens.
        num_tokens: ``[B]`` how many they are.
        logps: ``[B, T-1]`` log-probability of each label, 0 where not scored (when any detail is asked for).
        mask: ``[B, T-1]`` True where scored (when any detail is asked for).
        greedy: ``[B, T-1]`` 1 where the label is the most probable token, else 0; NaN for logits that are NaN.
            Like ``mean`` and ``variance``, it is there for candidate 0 alone, and 0 for the others.
        mean: ``[B, T-1]`` expected log-probability of a token that the model would write there (``moments``).
        variance: ``[B, T-1]`` its variance (``moments``).
        text: B texts, the scored tokens without special ones.
    """

    index: Tensor
    choice: Tensor
    nll: Tensor
    num_tokens: Tensor
    logps: NotRequired[Tensor]
    mask: NotRequired[Tensor]
    greedy: NotRequired[Tensor]
    mean: NotRequired[Tensor]
    variance: NotRequired[Tensor]
    text: NotRequired[list[str]]


class Generation(TypedDict):
    """Continuations of B prompts.

    Attributes:
        index: ``[B]`` position of each example in its dataset.
        text: B continuations.
    """

    index: Tensor
    text: list[str]


UnlearnBatch = dict[str, TokenBatch]
"""One micro-batch: a :class:`TokenBatch` per stream name (``forget``, ``forget.alternate``, ``retain``, ...)."""


@dataclass
class StreamView:
    """What one forward of one stream gives, aligned so that position ``t`` of every field speaks about label ``t``.

    Attributes:
        labels: ``[B, T-1]`` the token that each position predicts.
        mask: ``[B, T-1]`` True where that token is scored.
        logps: ``[B, T-1]`` log-probability of the label, fp32 or better; 0 where not scored.
        index: ``[B]`` position of each example in its dataset.
        logits: ``[B, T-1, V]``, when an objective needs them.
        hidden: layer number to ``[B, T-1, D]``, when an objective needs them.
        ref_logps: ``[B, T-1]`` the same as ``logps`` under the reference model.
        ref_logits: ``[B, T-1, V]`` the same as ``logits`` under the reference model.
        ref_hidden: layer number to ``[B, T-1, D]`` under the reference model.
        statistics: ``[B, T-1, C]`` what else an evaluation wants to know about the logits; 0 where not scored.
        outputs: whatever the model returned, for models that are not language models.
    """

    labels: Tensor
    mask: Tensor
    logps: Tensor
    index: Tensor
    logits: Tensor | None = None
    hidden: dict[int, Tensor] = field(default_factory=dict)
    ref_logps: Tensor | None = None
    ref_logits: Tensor | None = None
    ref_hidden: dict[int, Tensor] = field(default_factory=dict)
    statistics: Tensor | None = None
    outputs: Any = None

    def count(self, mean_over: MeanOver) -> Tensor:
        """Number of scored tokens, or of sequences with at least one; ``[]`` fp64."""
        return count_labels(self.mask, mean_over)


def right_answers(batch: TokenBatch) -> TokenBatch:
    """The rows of candidate 0, without the columns that only others need; one row of another, where there are none.

    A batch is never empty, for models cannot do with that, and ranks must call them equally often.
    """
    rows = (batch["choice"] == 0).nonzero().flatten() if "choice" in batch else torch.arange(len(batch["index"]))
    rows = rows if len(rows) else rows.new_zeros(1)
    width = int(batch["attention_mask"][rows].sum(dim=-1).max())
    parts = {name: value[rows] for name, value in cast(dict[str, Tensor], batch).items()}
    return cast(TokenBatch, {name: part[:, :width] if part.ndim > 1 else part for name, part in parts.items()})


def label_mask(labels: Tensor) -> Tensor:
    """True where ``labels [B, T]`` are scored, shifted to the positions that predict them: ``[B, T-1]``."""
    return labels[:, 1:] != IGNORE_INDEX


def count_labels(mask: Tensor, mean_over: MeanOver) -> Tensor:
    """Number of True entries of ``mask [B, T-1]`` (tokens), or of rows that have one (sequences); ``[]`` fp64."""
    counted = mask if mean_over == "tokens" else mask.any(dim=-1)
    return counted.sum(dtype=torch.float64)
