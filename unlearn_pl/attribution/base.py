"""Base class of attributions: a score per weight, and the mask of the top-scoring ones."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar, Literal, TypedDict, get_args

import torch
from torch import Tensor, distributed, nn
from torch.distributed.tensor import DTensor

from unlearn_pl.attribution.measured import Measured, Need
from unlearn_pl.functional.ranking import Scores, mark_largest, mark_rows
from unlearn_pl.gradients import blocks_of
from unlearn_pl.masks import chosen_names
from unlearn_pl.recording import Recorded

MaskScope = Literal["global", "group", "tensor", "row"]


class AttributionOptions(TypedDict, total=False):
    """Options of every attribution besides ``keep``.

    Attributes:
        scope: weights that are ranked together: all (``global``), those of a transformer layer (``group``), of a
            parameter (``tensor``), or of one output of a parameter (``row``), also of one expert.
        include: regular expressions, searched anywhere in the name, of the parameters that are scored.
        exclude: regular expressions of exceptions.
        forget_stream: training stream to forget; ``forget.alternate`` (refusals) for methods that learn refusals.
        retain_stream: training stream to retain.
    """

    scope: MaskScope
    include: Sequence[str]
    exclude: Sequence[str]
    forget_stream: str
    retain_stream: str


class Attribution(Recorded, ABC):
    """Scores weights by their contribution to the forget loss; a subclass implements :meth:`score`.

    The weights with the largest scores stay trainable: exactly ``round(keep * n)`` of the ``n`` that are ranked
    together; ties go to the first ones. Parameters that ``include`` and ``exclude`` do not select are frozen, since a
    mask trains only the weights that it marks.

    Attributes:
        needs: required measurements: mean gradients on ``forget`` and ``retain`` data, ``inputs`` of linear layers.
        squares: gradients are squared before they are averaged over the steps, which is the Fisher information.

    Args:
        keep: share of the weights that stay trainable, in (0, 1].
        scope: which weights are ranked together.
        include: regular expressions of the names of parameters that are scored.
        exclude: regular expressions of exceptions.
        forget_stream: training stream to forget.
        retain_stream: training stream to retain.

    Raises:
        ValueError: if ``keep`` is out of range or ``scope`` unknown.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()
    squares: ClassVar[bool] = False

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
        """``forget`` and ``retain``, if their gradients are needed, to the name of their stream."""
        streams = {"forget": self.forget_stream, "retain": self.retain_stream}
        return {data: stream for data, stream in streams.items() if data in self.needs}

    def choose(self, model: nn.Module) -> list[str]:
        """Names of the parameters of ``model`` that are scored, in its order.

        Raises:
            ValueError: if an expression matches no name, or no trainable parameter is selected.
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
        """Prepare to score ``parameters``; called once before :meth:`score`.

        Args:
            parameters: all parameters that are scored.
            sharded: each rank holds a part of every parameter.

        Returns:
            Findings by name, which are logged and stored in the mask file.

        Raises:
            ValueError: if the parameters cannot be scored.
        """
        return {}

    @abstractmethod
    def score(self, parameter: Measured) -> Tensor:
        """A score for every element of ``parameter.weight [...]``, ``[...]``; only its absolute value counts."""

    def mark(self, parameters: Sequence[Measured], sharded: bool = False) -> list[Tensor]:
        """Mark the elements that stay trainable; call :meth:`prepare` first.

        Scores are computed tensor by tensor, and recomputed if necessary, so that they never exist all at once.

        Args:
            parameters: the scored parameters, in the order of the model.
            sharded: each rank holds a part of every parameter, and all ranks call this.

        Returns:
            A bool tensor ``[...]`` per parameter, with the shape of its (local) weight.

        Raises:
            ValueError: if a score is not finite, or no weight is marked.
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
        if parameter.input_dim == 0 and isinstance(parameter.parameter, DTensor):
            raise ValueError(
                f"scope='row' ranks the inputs of each output, but {parameter.name!r} is stored with its inputs first, "
                "which FSDP2 splits over the ranks. Accepted: another scope, or strategy='ddp'."
            )
        if parameter.parameter.dim() == 2 and parameter.input_dim == 1:
            return mark_rows(self._checked(parameter), self.keep)
        scores = parameter.by_output(self._checked(parameter))
        marked = mark_rows(scores.flatten(0, -2), self.keep).view(scores.shape)
        return marked.movedim(-1, parameter.input_dim).contiguous()

    def _checked(self, parameter: Measured) -> Tensor:
        scores = self.score(parameter).abs().float()
        if scores.numel() and not scores.max().isfinite():  # a maximum over NaN is NaN
            raise ValueError(f"{type(self).__name__} gives {parameter.name!r} scores that are not finite.")
        return scores


def _any(marked: Sequence[Tensor], sharded: bool) -> bool:
    found = torch.stack([marks.any() for marks in marked]).any().int()
    if sharded:
        distributed.all_reduce(found)
    return bool(found)
