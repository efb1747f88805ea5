"""Types that all packages share: batches, views of a stream, and the fields that objectives need of them.

Shape letters used everywhere: B examples, T tokens, V vocabulary entries, D hidden units, K objectives.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, NotRequired, TypedDict, cast

import torch
from torch import Tensor, nn

from unlearn_pl.views import (  # noqa: F401 - they are names of this module, too
    IGNORE_INDEX,
    AnswerView,
    DenoisingView,
    LanguageView,
    MeanOver,
    Need,
    Needs,
    StreamView,
    View,
    count_labels,
    label_mask,
    labeled_rows,
    parse_needs,
    scored_mask,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Role = Literal["forget", "retain"]


class TokenBatch(TypedDict):
    """One stream of one micro-batch; right-padded.

    Attributes:
        input_ids: ``[B, T]`` token ids.
        attention_mask: ``[B, T]``, 1 up to each example's length (never derived from the pad id).
        labels: ``[B, T]``, equal to ``input_ids`` where scored and ``IGNORE_INDEX`` elsewhere (not shifted).
        index: ``[B]`` position of each example in its dataset.
        choice: ``[B]`` which candidate answer of the example a row holds (evaluation splits only).
        target: ``[B]`` which candidate answer is the correct one (multiple-choice questions only).
        weight: ``[B, T]`` weight of each label in means over tokens, not negative and finite (training only); all 1
            without it. Entries without a label are not read.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    index: Tensor
    choice: NotRequired[Tensor]
    target: NotRequired[Tensor]
    weight: NotRequired[Tensor]


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


class PromptedBatch(TypedDict):
    """One stream of one micro-batch of images with texts that describe them, for text-to-image models.

    Attributes:
        image: ``[B, C, H, W]`` in [0, 1].
        prompt: B texts.
        pseudo_prompt: B texts that describe something else instead, for objectives that replace a concept.
        index: ``[B]`` position of each image in its dataset.
        seeds: ``[B]`` int64, seeds of the noise and the timestep of each example.
    """

    image: Tensor
    prompt: list[str]
    pseudo_prompt: NotRequired[list[str]]
    index: Tensor
    seeds: NotRequired[Tensor]


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

ScoreBatches = Callable[[Sequence[Batch]], Tensor]
"""Mean negative log-likelihood per scored token of every example of several batches under the current model: ``[n]``.

A collective operation: every rank calls it with the same batches, and gets the same values.
"""

Window = Mapping[str, Sequence[Batch]]
"""The data of one optimizer step on one rank: a list of micro-batches per stream (``forget``, ``retain``, ...)."""


Forward = Callable[[nn.Module, Batch, Needs], View]
"""One forward of a model on a micro-batch, with the fields that are needed."""


class InitialModel(NamedTuple):
    """A model with its weights before training: how to build it, its forward, and the device that it runs on."""

    build: Callable[[], nn.Module]
    forward: Forward
    device: torch.device


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

    def initial_model(self) -> InitialModel | None:
        """The model before training, for a data module that measures its examples; None if there is none."""
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

    def refresh(self, epoch: int, score: ScoreBatches) -> None:
        """Choose what an epoch shows, where that depends on the current model; by default nothing does.

        Args:
            epoch: number of the epoch that is about to begin.
            score: the ``[n]`` losses of n examples in batches, under the current model.
        """
        return

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

    def hub_datasets(self) -> Sequence[str]:
        """Names of the data sets on the Hugging Face hub that it reads; empty if there are none."""
        return ()

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
