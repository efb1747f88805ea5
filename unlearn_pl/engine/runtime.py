"""The runtime of a custom training loop: one process, any model."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from unlearn_pl.goals import Goal
from unlearn_pl.gradients import Row
from unlearn_pl.models import LiveModel, ModelSpec
from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.objectives import Objective
from unlearn_pl.types import Batch, MeanOver, Need, Needs, View, parse_needs


class LocalRuntime:
    """A model and its optimizer in one process, without a Trainer.

    Args:
        model: the trained model.
        optimizer: optimizer of its parameters.
        objectives: the objectives that are descended; they determine which fields of a view are needed.
        spec: the kind of model; a causal language model by default.
        gradient_clip_val: largest norm of the gradient of a role, for optimizers with moments per role.
        goals: the goals of the descent, if there are any.
    """

    world_size = 1
    rank = 0
    sharded = False
    clones_gradients = False

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        objectives: Mapping[str, Objective],
        spec: ModelSpec | None = None,
        gradient_clip_val: float | None = None,
        goals: Mapping[str, Goal] | None = None,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.spec = spec or LiveModel(model)
        self.gradient_clip_val = gradient_clip_val
        names = {parameter: name for name, parameter in model.named_parameters()}
        self.parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        self.names = [names[parameter] for parameter in self.parameters]
        self._needs = stream_needs(objectives, goals)

    def view(self, stream: str, batch: Batch) -> View:
        """One forward of one micro-batch; see :class:`~unlearn_pl.gradients.Runtime`, also for the other methods."""
        return self.spec.forward(self.model, batch, self._needs[stream])

    def count(self, batch: Batch, mean_over: MeanOver) -> Tensor:
        """What a loss over ``batch`` averages over: ``[]`` fp64."""
        return self.spec.count(batch, mean_over)

    def backward(self, loss: Tensor, retain_graph: bool) -> None:
        """Add the gradients of ``loss []`` to ``.grad``."""
        loss.backward(retain_graph=retain_graph)

    def no_sync(self) -> AbstractContextManager[None]:
        """A context without effect: there are no other ranks."""
        return nullcontext()

    def forward_only(self) -> AbstractContextManager[None]:
        """Evaluation mode."""
        return evaluation_mode(self.model)

    def reach_all(self) -> Tensor | None:
        """None instead of a zero ``[]``: there is no reduction."""
        return None

    def mask(self, row: Row) -> None:
        """Does nothing: all weights may change."""

    def clip(self) -> None:
        """Clip the gradient in ``.grad`` to ``gradient_clip_val``."""
        if self.gradient_clip_val is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.gradient_clip_val)

    def on_rows(self, rows: Mapping[str, Row], weights: Tensor) -> None:
        """Does nothing; override to read the rows and the weights ``[K]``."""


def stream_needs(objectives: Mapping[str, Objective], goals: Mapping[str, Goal] | None = None) -> dict[str, Needs]:
    """Stream to the fields of its view that its objectives need.

    A goal that is a share of the start compares with the reference model where an objective of its stream does so
    anyway, so that no further forward is needed.
    """
    needs: dict[str, Needs] = {}
    for objective in objectives.values():
        for stream in objective.streams:
            needs[stream] = needs.get(stream, frozenset()) | parse_needs(objective.needs)
    for name, goal in (goals or {}).items():
        stream = objectives[name].progress_stream
        if goal.of_start and any(need.reference for need in needs[stream]):
            needs[stream] |= {Need("logps", reference=True)}
    return needs
