"""What an attribution is: a score for every weight, and which weights the best scores select."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar, Literal, TypedDict, get_args

import torch
from torch import Tensor, distributed, nn

from unlearn_pl.attribution.measured import Measured, Need
from unlearn_pl.attribution.ranking import Scores, mark_largest, mark_rows
from unlearn_pl.gradients import blocks_of
from unlearn_pl.masks import chosen_names
from unlearn_pl.recording import Recorded

MaskScope = Literal["global", "group", "tensor", "row"]


class AttributionOptions(TypedDict, total=False):
    """What every attribution accepts beyond ``keep``.

    Attributes:
        scope: which weights compete for being kept: all (``global``), those of a transformer layer (``group``), of a
            parameter (``tensor``), or of an output of a parameter (``row``).
        include: regular expressions, looked for anywhere in the name, of the parameters that are scored.
        exclude: regular expressions of exceptions.
        forget_stream: training stream to forget; its refusals (``forget.alternate``) for methods that learn those.
        retain_stream: training stream to retain.
    """

    scope: MaskScope
    include: Sequence[str]
    exclude: Sequence[str]
    forget_stream: str
    retain_stream: str


class Attribution(Recorded, ABC):
    """Scores weights by their share in what is to be forgotten; a subclass writes :meth:`score`.

    The weights with the largest scores are kept trainable: exactly ``round(keep * n)`` of the ``n`` that compete, of
    equal scores the first ones. Parameters that ``include`` and ``exclude`` leave out are not: a mask lets change what
    it marks, and nothing else.

    Attributes:
        needs: what must be measured: the mean gradients on ``forget`` and ``retain`` data, ``inputs`` of linear layers.

    Args:
        keep: share of the competing weights that stay trainable, in (0, 1].
        scope: which weights compete.
        include: expressions of the names of parameters that are scored.
        exclude: expressions of exceptions.
        forget_stream: training stream to forget.
        retain_stream: training stream to retain.

    Raises:
        ValueError: if ``keep`` or ``scope`` is none of the accepted ones.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()

    def __init__(
        self,
        keep: float,
        scope: MaskScope = "global",
        include: Sequence[str] = (".*",),
        exclude: Sequence[str] = (),
        forget_stream: str = "forget",
        retain_stream: str = "retain",
    ) -> None:
        if not 0 < keep <= 1:
            raise ValueError(f"keep is {keep}; accepted: a share of the weights in (0, 1].")
        if scope not in get_args(MaskScope):
            raise ValueError(f"scope is {scope!r}; accepted: {', '.join(get_args(MaskScope))}.")
        self.keep = keep
        self.scope = scope
        self.include = list(include)
        self.exclude = list(exclude)
        self.forget_stream = forget_stream
        self.retain_stream = retain_stream

    @property
    def streams(self) -> dict[str, str]:
        """``forget`` and ``retain``, as far as gradients on them are needed, to the stream that gives them."""
        streams = {"forget": self.forget_stream, "retain": self.retain_stream}
        return {data: stream for data, stream in streams.items() if data in self.needs}

    def choose(self, model: nn.Module) -> list[str]:
        """Names of the parameters of ``model`` that are scored, in its order.

        Raises:
            ValueError: if an expression matches no name, or no trainable parameter is left.
        """
        candidates = self.candidates(model)
        chosen = chosen_names(candidates, self.include, self.exclude) if candidates else set()
        if not chosen:
            raise ValueError(
                f"include={self.include} and exclude={self.exclude} leave {type(self).__name__} no parameter to score."
            )
        return [name for name in candidates if name in chosen]

    def candidates(self, model: nn.Module) -> list[str]:
        """Names of the parameters that can be scored: the trainable ones."""
        return [name for name, parameter in model.named_parameters() if parameter.requires_grad]

    def prepare(self, parameters: Sequence[Measured], sharded: bool) -> Mapping[str, float]:
        """Get ready to score ``parameters``, before the first is.

        Args:
            parameters: all that are scored.
            sharded: each rank holds a part of every parameter.

        Returns:
            What was found out, by name, to be logged and kept in the mask file.

        Raises:
            ValueError: if they cannot be scored.
        """
        return {}

    @abstractmethod
    def score(self, parameter: Measured) -> Tensor:
        """A number for every element of ``parameter.weight``, shaped as it; its size decides, not its sign."""

    def mark(self, parameters: Sequence[Measured], sharded: bool = False) -> list[Tensor]:
        """Which elements are kept trainable: a boolean tensor per parameter. After :meth:`prepare`.

        Scores are made tensor by tensor, and again when they are needed again: at no time do all of them exist.

        Args:
            parameters: what competes, in the order of the model.
            sharded: each rank holds a part of every parameter, and all ranks call this.

        Raises:
            ValueError: if a score is not finite, or not a single weight is kept.
        """
        if self.scope == "row":
            marked = [self._mark_rows(parameter) for parameter in parameters]
        else:
            blocks = blocks_of([parameter.name for parameter in parameters], self.scope)
            marked = [torch.empty(0)] * len(parameters)
            for block in range(max(blocks) + 1):
                members = [i for i, own in enumerate(blocks) if own == block]
                keep = round(self.keep * sum(parameters[i].parameter.numel() for i in members))
                scores: list[Scores] = [partial(self._checked, parameters[i]) for i in members]
                for i, marks in zip(members, mark_largest(scores, keep, sharded), strict=True):
                    marked[i] = marks
        if not _any(marked, sharded):
            raise ValueError(f"keep={self.keep} with scope={self.scope!r} leaves not a single weight trainable.")
        return marked

    def _mark_rows(self, parameter: Measured) -> Tensor:
        if len(parameter.parameter.shape) < 2:
            raise ValueError(f"scope='row' needs matrices, and {parameter.name!r} is none: exclude it.")
        return mark_rows(self._checked(parameter), self.keep)

    def _checked(self, parameter: Measured) -> Tensor:
        scores = self.score(parameter).abs().float()
        if scores.numel() and not scores.max().isfinite():  # the maximum of what has a NaN is NaN
            raise ValueError(f"{type(self).__name__} gives {parameter.name!r} scores that are not finite.")
        return scores


def _any(marked: Sequence[Tensor], sharded: bool) -> bool:
    found = torch.stack([marks.any() for marks in marked]).any().int()
    if sharded:
        distributed.all_reduce(found)
    return bool(found)
