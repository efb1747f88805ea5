"""Types that all packages share: batches, views of a stream, and the fields that objectives need of them.

Shape letters used everywhere: B examples, T tokens, V vocabulary entries, D hidden units, K objectives.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Literal, NotRequired, Protocol, Self, TypedDict, cast, runtime_checkable

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

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
        target: ``[B]`` which candidate answer is the correct one (multiple-choice questions only).
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    index: Tensor
    choice: NotRequired[Tensor]
    target: NotRequired[Tensor]


class ImageBatch(TypedDict):
    """One stream of one micro-batch of images of equal size.

    Attributes:
        image: ``[B, C, H, W]`` in [0, 1], float32 (or as the data has them).
        label: ``[B]`` int64, the class of each image.
        index: ``[B]`` position of each image in its dataset.
    """

    image: Tensor
    label: Tensor
    index: Tensor


class PromptBatch(TypedDict):
    """Left-padded prompts to continue, with the answers that the continuations are compared with.

    Attributes:
        prompt_ids: ``[B, T]`` token ids.
        prompt_mask: ``[B, T]``, 0 on the padding at the left.
        index: ``[B]`` position of each example in its dataset.
        answer: B ground-truth answers.
        draft_ids: ``[B, S]`` token ids that are likely to follow the prompts, right-padded; they speed generation up
            and never change its result.
        draft_mask: ``[B, S]``, 0 on their padding.
    """

    prompt_ids: Tensor
    prompt_mask: Tensor
    index: Tensor
    answer: list[str]
    draft_ids: NotRequired[Tensor]
    draft_mask: NotRequired[Tensor]


Detail = Literal["logps", "greedy", "moments", "text"]
"""Extra output per scored token that an evaluation may request; see :class:`Score`."""


Reads = Literal["nothing", "answers", "candidates"]
"""What an evaluation reads of a dataloader: nothing, only the correct answers (candidate 0), or all candidates."""


class Score(TypedDict):
    """Teacher-forced scores of B answers, from one forward.

    Attributes:
        index: ``[B]`` position of each example in its dataset.
        choice: ``[B]`` number of the candidate answer.
        nll: ``[B]`` negative log-likelihood in nats, summed over the scored tokens.
        num_tokens: ``[B]`` number of scored tokens.
        logps: ``[B, T-1]`` log-probability of each label, 0 where not scored (if any detail is requested).
        mask: ``[B, T-1]`` True where scored (if any detail is requested).
        greedy: ``[B, T-1]`` 1 where the label is the most probable token, else 0; NaN for logits that are NaN.
            Like ``mean`` and ``variance``, it is computed for candidate 0 only, and 0 for the others.
        mean: ``[B, T-1]`` expected log-probability of a token sampled from the model there (``moments``).
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


Batch = Mapping[str, Tensor]
"""One micro-batch of one stream, of any kind of model; a :class:`TokenBatch` for language models.

``index [B]`` is the position of each example in its dataset; ``seeds [B]`` (see :func:`~unlearn_pl.data.example_seeds`)
is present for models whose loss draws random numbers.
"""

Window = Mapping[str, Sequence[Batch]]
"""The data of one optimizer step on one rank: a list of micro-batches per stream (``forget``, ``retain``, ...)."""


@dataclass(frozen=True, order=True)
class Need:
    """A field of a stream's view that an objective reads.

    Attributes:
        field: its name in the view: ``logps``, ``logits``, ``hidden``, ``prediction``, ...
        layer: number of the layer, for fields that have one per layer.
        reference: the reference model's value of the field, which the view holds as ``ref_<field>``.
    """

    field: str
    layer: int | None = None
    reference: bool = False

    @classmethod
    @cache
    def parse(cls, text: str) -> Self:
        """The need that ``text`` spells: ``logits``, ``hidden.7``, ``ref_logits`` or ``ref_hidden.7``.

        Raises:
            ValueError: if the part after the dot is not a number.
        """
        name, _, layer = text.partition(".")
        if layer and not layer.isdecimal():
            raise ValueError(f"A need is {text!r}; accepted: a field such as 'logits', or with a layer, 'hidden.7'.")
        return cls(name.removeprefix("ref_"), int(layer) if layer else None, name.startswith("ref_"))

    def __str__(self) -> str:
        layer = "" if self.layer is None else f".{self.layer}"
        return f"{'ref_' * self.reference}{self.field}{layer}"


Needs = frozenset[Need]


def parse_needs(needs: Iterable[Need | str]) -> Needs:
    """``needs`` with every string parsed by :meth:`Need.parse`."""
    return frozenset(Need.parse(need) if isinstance(need, str) else need for need in needs)


class View(Protocol):
    """The result of one forward of one stream; further fields are those that objectives name in their ``needs``.

    Attributes:
        index: ``[B]`` position of each example in its dataset.
    """

    index: Tensor

    def count(self, mean_over: MeanOver) -> Tensor:
        """What a loss over this view averages over; ``[]`` fp64."""


@runtime_checkable
class AnswerView(View, Protocol):
    """A view of examples with a correct answer (or text, or class), which the model gives a probability."""

    def probability(self) -> Tensor:
        """Probability of the answer, mean over the view's sequences; ``[]``."""

    def probability_kept(self) -> Tensor | None:
        """The same relative to the reference model, per example; ``[]``, None without a reference."""


Forward = Callable[[nn.Module, Batch, Needs], View]
"""One forward of a model on a micro-batch, with the fields that are needed."""


@dataclass
class LanguageView:
    """The view of a language model, aligned so that position ``t`` of every field refers to label ``t``.

    A classifier has the same view with ``T - 1 = 1``: its label is the only token.

    Attributes:
        labels: ``[B, T-1]`` the token that each position predicts.
        mask: ``[B, T-1]`` True where that token is scored.
        logps: ``[B, T-1]`` log-probability of the label, fp32 or better; 0 where not scored.
        index: ``[B]`` position of each example in its dataset.
        logits: ``[B, T-1, V]``, if an objective needs them.
        hidden: layer number to ``[B, T-1, D]``, if an objective needs them.
        ref_logps: ``[B, T-1]`` the same as ``logps`` under the reference model.
        ref_logits: ``[B, T-1, V]`` the same as ``logits`` under the reference model.
        ref_hidden: layer number to ``[B, T-1, D]`` under the reference model.
        statistics: ``[B, T-1, C]`` further statistics of the logits, for an evaluation; 0 where not scored.
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

    def count(self, mean_over: MeanOver) -> Tensor:
        """Number of scored tokens, or of sequences with at least one; ``[]`` fp64."""
        return count_labels(self.mask, mean_over)

    def probability(self) -> Tensor:
        """``exp`` of the mean log-probability of the scored tokens, mean over the sequences that have any; ``[]``."""
        return _mean_probability(self.logps, self.mask)

    def probability_kept(self) -> Tensor | None:
        """The same of ``logps - ref_logps``: 1 where the model gives every answer its reference's probability; ``[]``.

        None without a reference model.
        """
        return None if self.ref_logps is None else _mean_probability(self.logps - self.ref_logps, self.mask)


StreamView = LanguageView
"""Former name of :class:`LanguageView`, from before there were views of other models."""


class StreamReader:
    """Interface of a module to the data module that it is trained or evaluated with."""

    def streams_to_load(self, available: Sequence[str]) -> list[str] | None:
        """The training streams that the module reads; None to leave it to the data module.

        Args:
            available: streams that the data has.

        Raises:
            ValueError: if a stream that is read is not among them.
        """
        return None

    def model_tokenizer(self) -> "PreTrainedTokenizerBase | None":
        """The tokenizer that comes with the model; None if there is none."""
        return None


class StreamProvider(ABC):
    """Interface of a data module to the module that is trained or evaluated with it.

    Attributes:
        micro_batch_size: examples per device and forward.
    """

    micro_batch_size: int

    @property
    @abstractmethod
    def streams(self) -> list[str]:
        """Names of the training streams."""

    @property
    @abstractmethod
    def steps_per_epoch(self) -> int:
        """Optimizer steps per epoch."""

    @property
    def micro_batches_per_step(self) -> int:
        """Micro-batches per device and optimizer step."""
        return 1

    @property
    def order(self) -> Mapping[str, object]:
        """What decides, beside the examples, which of them an optimizer step sees; empty if this is not known.

        Plain data, for checkpoints: a run resumes with the same only.
        """
        return {}

    @property
    def longest_sequence(self) -> int:
        """Tokens in the longest example; 0 if examples have no length."""
        return 0

    @property
    def holdout_set(self) -> str | None:
        """Name of the stream or split with examples like those of the forget set that no model was trained on."""
        return None

    def sample(self, name: str, size: int) -> Sequence[Batch]:
        """Micro-batches of up to ``size`` examples of a stream or split, drawn without replacement; equal on all ranks.

        Args:
            name: name of the stream or split.
            size: number of examples.

        Returns:
            Batches on the CPU; empty if examples cannot be drawn beforehand.
        """
        return []

    def training_examples(self, stream: str, num_steps: int | None) -> Sequence[object] | None:
        """Examples of ``stream`` that the first ``num_steps`` optimizer steps show, each example and answer once.

        Args:
            stream: name of the stream.
            num_steps: number of optimizer steps; None for all examples that any number of steps may show.

        Returns:
            None if this is not known beforehand.
        """
        return None

    def stream_fingerprint(self, stream: str) -> str:
        """Hash of the examples of ``stream``; empty if this is not known."""
        return ""

    def question_hashes(self) -> dict[str, dict[int, str]]:
        """Evaluation split to index of the example to a hash of its content; empty if there are none."""
        return {}

    def text_tokenizer(self) -> "PreTrainedTokenizerBase | None":
        """The tokenizer of the data; None for data that is not text."""
        return None


def right_answers(batch: TokenBatch) -> TokenBatch:
    """The rows of candidate 0, without the columns that only other rows need; one other row if there are none.

    A batch is never empty: models do not accept empty ones, and all ranks must call them equally often.
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


def _mean_probability(logps: Tensor, mask: Tensor) -> Tensor:
    """``exp`` of the mean of ``logps [B, T-1]`` over the True entries of ``mask``, mean over rows that have any; 0."""
    lengths = mask.sum(dim=-1)
    per_row = (logps.detach() * mask).sum(dim=-1).div(lengths.clamp(min=1)).exp() * (lengths > 0)
    return per_row.sum() / (lengths > 0).sum().clamp(min=1)
