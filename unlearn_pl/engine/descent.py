"""One optimizer step: from the window of micro-batches to the combined gradient in ``.grad``."""

from collections.abc import Mapping
from typing import Any, get_args

import torch
from torch import Tensor
from torch.optim import Optimizer

from unlearn_pl.combiners import Combiner, RowCombiner
from unlearn_pl.engine.checks import OnNonFinite, check_goals, check_objectives, check_optimizer, check_options
from unlearn_pl.engine.refresh import Refresh
from unlearn_pl.engine.step import Step
from unlearn_pl.functional import Rescale, rescale_weights
from unlearn_pl.goals import Goal, Goals
from unlearn_pl.gradients import (
    FirstOrder,
    Geometry,
    Gradients,
    GradientSource,
    Metric,
    Runtime,
    Scope,
    SummedGradient,
    Window,
    adam_metric,
    blocks_of,
    harvest,
    merge,
    one_block,
    restore,
    window_of,
)
from unlearn_pl.objectives import Objective
from unlearn_pl.optim import DualOptim
from unlearn_pl.types import Role
from unlearn_pl.types import Window as WindowData


class Descent:
    """Descends several objectives together: a gradient of each, combined at every step.

    A step takes the cheapest way to its gradient: a single weighted sum when the weights are known beforehand, else
    gradients of every objective, their Gramian, and the combiner's weights.

    It needs no Trainer. In a custom loop::

        objectives = {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()}
        descent = Descent(objectives, MinNorm())
        runtime = LocalRuntime(model, optimizer, objectives)
        for window in windows:
            step = descent.step(window, runtime)
            if step.moves:
                optimizer.step()

    Args:
        objectives: name to objective; at least one.
        combiner: turns the Gramian of the gradients into weights.
        gradient: source of the gradients; :class:`~unlearn_pl.gradients.FirstOrder` by default.
        on_nonfinite: ``skip`` the step, ``drop`` the objective from it, or ``raise``, when a loss or a gradient is
            not finite. A non-finite gradient never reaches the optimizer.
        scope: whether the combiner solves once for all weights (``global``), for each transformer layer separately
            (``group``), or for each parameter (``tensor``).
        metric: inner product of the gradients: ``euclidean``, or ``adam``, the metric of Adam's steps.
        rescale: length of the combined gradient: ``mean_gradient``, ``mean_norm``, or the combiner's own (None).
        refresh_every: solve at every m-th step only; see :class:`Refresh`.
        goals: name of an objective to how far it is to go; see :class:`~unlearn_pl.goals.Goal`.

    Attributes:
        goals: where the objectives stand between their starts and their goals.
        windows_closed: optimizer steps so far, skipped ones included.
        skipped: how many of them were skipped, by reason.
        losses: ``[K]`` of the last step; NaN before the first.

    Raises:
        ValueError: if there is no objective, or an option is unknown or not supported by the combiner or the source.
    """

    def __init__(
        self,
        objectives: Mapping[str, Objective],
        combiner: Combiner,
        *,
        gradient: GradientSource | None = None,
        on_nonfinite: OnNonFinite = "skip",
        scope: Scope = "global",
        metric: Metric = "euclidean",
        rescale: Rescale | None = None,
        refresh_every: int = 1,
        goals: Mapping[str, Goal] | None = None,
    ) -> None:
        self.objectives = dict(objectives)
        self.combiner = combiner
        self.gradient = gradient or FirstOrder()
        self.on_nonfinite = on_nonfinite
        self.scope = scope
        self.metric = metric
        self.rescale = rescale
        self.refresh = Refresh(refresh_every)
        self.goals = Goals(goals)
        self.check()
        self.setup()

    def check(self) -> None:
        """Check objectives, combiner and options, which may have been replaced since the construction.

        Raises:
            ValueError: if there is no objective, or an option is unknown or not supported by the combiner or the
                source of gradients.
        """
        check_objectives(self.objectives)
        check_options(
            self.combiner,
            self.gradient,
            on_nonfinite=self.on_nonfinite,
            scope=self.scope,
            metric=self.metric,
            rescale=self.rescale,
            refresh_every=self.refresh.every,
            objectives=len(self.objectives),
        )
        check_goals(self.objectives, self.combiner, self.goals.goals)

    @property
    def replaced(self) -> bool:
        """Whether objectives or the combiner are not those of the last :meth:`setup`."""
        return self._set_up_for != self._parts()

    def _parts(self) -> tuple[object, ...]:
        return self.combiner, *((name, objective, objective.role) for name, objective in self.objectives.items())

    def setup(self, reference_is_original: bool = False) -> None:
        """Reset to step 0.

        Args:
            reference_is_original: the reference model has the original weights, so that divergences from it have a
                zero gradient at the first step.
        """
        objectives = self.objectives.values()
        self._set_up_for = self._parts()
        self.combiner.setup(
            list(self.objectives),
            [o.role for o in objectives],
            [o.zero_at_reference and reference_is_original for o in objectives],
        )
        self.goals.setup(list(self.objectives), [o.role for o in objectives], [o.progress_rises for o in objectives])
        self.windows_closed = 0
        self.skipped = {"nonfinite": 0, "stationary": 0}
        self.losses = torch.full([len(self.objectives)], float("nan"), dtype=torch.float64)
        self.refresh.reset()
        self.gradient.reset()
        self._blocks: list[int] = []

    def begin(self, start: Mapping[str, float], holdout: float | None = None) -> None:
        """Set levels that were measured before the first step, for goals that refer to them.

        Args:
            start: name of an objective to its progress; the others start where their first step is.
            holdout: probability that the model gives to answers that it was never trained on.

        Raises:
            ValueError: if a goal needs the holdout level, and it is missing or too low to be of use; or if a floor does
                not hold at the start.
        """
        self.goals.begin(start, holdout)
        self.combiner.standing = self.goals.standing

    def check_optimizer(self, optimizer: Optimizer) -> None:
        """Check that ``optimizer`` fits the options and the combiner.

        Raises:
            ValueError: naming the optimizer and what is accepted.
        """
        check_optimizer(optimizer, self.combiner, self.gradient, metric=self.metric, refresh_every=self.refresh.every)

    def step(self, data: WindowData, runtime: Runtime) -> Step:
        """Leave the combined gradient of one window in ``.grad``, for the optimizer to step.

        Args:
            data: the micro-batches of every stream on this rank.
            runtime: the model, its optimizer and the other ranks.

        Returns:
            The measurements and the weights. If ``moves`` is False, ``.grad`` is None and there is nothing to step.

        Raises:
            ValueError: if an objective reads a missing stream.
            RuntimeError: if a loss or gradient is not finite, with ``on_nonfinite="raise"``.
        """
        window = window_of(data, self.objectives, runtime.count, runtime.world_size, self.windows_closed)
        self._met_nonfinite = False
        step = self._descend(window, runtime)
        self.skipped["nonfinite"] += self._met_nonfinite  # counted once per step
        if not step.moves:
            restore(runtime.parameters, None)
        self.windows_closed += 1
        self.losses = step.losses
        return step

    def _descend(self, window: Window, runtime: Runtime) -> Step:
        """Compute this step's gradient in the cheapest way."""
        if not self.combiner.uses_gramian and _dual_optim(runtime) is None:
            step = self._descend_sum(window, runtime, self.combiner(None, self.losses), one_block(runtime.parameters))
            self._follow_goals(step)
            return step
        if not self.refresh.due:
            return self._descend_again(window, runtime)
        return self._descend_gradients(window, runtime)

    def _descend_gradients(self, window: Window, runtime: Runtime) -> Step:
        """Solve for the weights from the Gramian of the gradients."""
        gradients = self.gradient.measure(window, runtime)
        geometry = self._geometry(runtime)
        step = self._step(*gradients.measure(geometry))
        self._follow_goals(step)
        if self._may_step(step):
            self._weigh(step)
        if (rows := gradients.rows()) is not None:
            runtime.on_rows(rows, step.mean_weights)
        length = step.length
        if step.moves and (summed := self._combine(step, gradients, geometry, runtime)) is not None:
            # The products were estimates: use the length of the sum itself, which must be finite.
            taken = self._take_sum(summed, step.weights[0], geometry)
            step.weights, length = taken.weights, taken.norms.item()
        self.refresh.solved(step, length)
        active = torch.where(self.combiner.live, step.norms, 0.0)
        self.gradient.observe(dict(zip(step.names, active.nan_to_num(posinf=0.0).tolist(), strict=True)))
        return step

    def _descend_again(self, window: Window, runtime: Runtime) -> Step:
        """Reuse the weights of the last step that solved."""
        assert self.refresh.weights is not None
        step = self._descend_sum(window, runtime, self.refresh.weights, self._geometry(runtime), self.refresh.longest)
        goals_changed = self._follow_goals(step)
        goals_changed |= bool(step.losses.isfinite().all()) and self.combiner.observe(step.losses)
        self.refresh.reused(step, goals_changed, self.combiner.satisfied_now)
        return step

    def _follow_goals(self, step: Step) -> bool:
        """Measure the distances from the goals; True if one was met, missed again, broken or restored."""
        before = self.goals.standing
        now = self.goals.update(step.readings)
        self.combiner.aim(now)
        return not (before.met.equal(now.met) and before.broken.equal(now.broken))

    def _descend_sum(
        self, window: Window, runtime: Runtime, weights: Tensor, geometry: Geometry, longest: float = float("inf")
    ) -> Step:
        """The gradient of ``sum_k w_k L_k``, shortened to the length ``longest`` if it is longer."""
        summed = self.gradient.weighted_sum(window, runtime, dict(zip(self.objectives, weights.tolist(), strict=True)))
        return self._take_sum(summed, weights, geometry, longest)

    def _take_sum(
        self, summed: SummedGradient, weights: Tensor, geometry: Geometry, longest: float = float("inf")
    ) -> Step:
        step = self._step(*summed.measure(geometry))
        length = step.norms.item()
        may_step = self._may_step(step) and bool(step.finite[weights != 0].all())  # a sum has no row to drop
        scale = min(1.0, longest / length if length > 0 else 1.0) if may_step else 0.0
        step.weights = (scale * weights).unsqueeze(0) if scale else torch.zeros(1, len(weights)).double()
        step.gramians = scale**2 * step.gramians if scale else step.gramians  # of the scaled gradient
        summed.scale(scale)
        return step

    def _combine(self, step: Step, gradients: Gradients, geometry: Geometry, runtime: Runtime) -> SummedGradient | None:
        """Leave the combination in ``.grad``, or pass that of each role to an optimizer with moments per role."""
        dual = _dual_optim(runtime)
        if isinstance(self.combiner, RowCombiner):
            rows = gradients.rows()
            assert rows is not None
            merge(runtime.parameters, list(rows.values()), step.weights[0].tolist(), self.combiner.merge)
        elif dual is None:
            return gradients.combine(step.weights, geometry)
        else:
            for role in get_args(Role):
                of_role = torch.tensor([objective.role == role for objective in self.objectives.values()])
                gradients.combine(step.weights * of_role, geometry)
                runtime.clip()
                dual.take(role, runtime.parameters, harvest(runtime.parameters))
        return None

    def _geometry(self, runtime: Runtime) -> Geometry:
        """Blocks and metric of this step's Gramian."""
        if len(self._blocks) != len(runtime.parameters):  # weights that were frozen may be trained later
            self._blocks = blocks_of(runtime.names, self.scope)
        if self.metric == "euclidean":
            return Geometry(self._blocks)
        return Geometry(self._blocks, adam_metric(runtime.optimizer, runtime.parameters))

    def _step(self, readings: Tensor, gramians: Tensor) -> Step:
        return Step(list(self.objectives), readings, gramians, torch.zeros(len(gramians), len(readings)).double())

    def _weigh(self, step: Step) -> None:
        """Solve for the weights: once, or once per block of parameters."""
        if self.combiner.uses_gramian:
            weights = self.combiner(step.gramians.squeeze(0) if self.scope == "global" else step.gramians, step.losses)
        else:
            weights = self.combiner(None, self.losses)
        step.weights = weights.view(len(step.gramians), -1)
        step.stationarity = self.combiner.stationarity
        if self.rescale is not None:
            step.weights = rescale_weights(step.weights, step.gramians, self.combiner.live, self.rescale)
        self.skipped["stationary"] += int(not step.moves)
        if not step.weights.isfinite().all():
            self._meet_nonfinite(f"{type(self.combiner).__name__} gave weights that are not finite", step)
            step.weights.zero_()

    def _may_step(self, step: Step) -> bool:
        """Apply ``on_nonfinite``; the result is the same on all ranks, because ``step`` is."""
        if step.finite.all():
            return True
        bad = [name for name, ok in zip(step.names, step.finite.expand(len(step.names)), strict=True) if not ok]
        self._meet_nonfinite(f"Objectives {bad} have a non-finite loss or gradient", step)
        return self.on_nonfinite == "drop" and bool(step.finite.any())

    def _meet_nonfinite(self, what: str, step: Step) -> None:
        self._met_nonfinite = True
        if self.on_nonfinite == "raise":
            raise RuntimeError(f"{what} at optimizer step {self.windows_closed}; losses {step.losses.tolist()}.")

    def state_dict(self) -> dict[str, Any]:
        """State for :meth:`load_state_dict` after the last step: tensors and plain values only."""
        return {
            "windows_closed": self.windows_closed,
            "skipped": dict(self.skipped),
            "combiner": self.combiner.state_dict(),
            "losses": self.losses,
            "refresh": self.refresh.state_dict(),
            "goals": self.goals.state_dict(),
            "gradient": self.gradient.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from ``state``, after :meth:`setup`.

        Raises:
            ValueError: if the state is of other objectives or another combiner.
        """
        self.combiner.load_state_dict(state["combiner"])
        self.windows_closed = state["windows_closed"]
        self.skipped = dict(state["skipped"])
        self.losses = state["losses"]
        self.refresh.load_state_dict(state["refresh"])
        self.gradient.load_state_dict(state.get("gradient", self.gradient.state_dict()))
        if "goals" in state:  # checkpoints from before there were goals have none
            self.goals.load_state_dict(state["goals"])
            self.combiner.standing = self.goals.standing


def _dual_optim(runtime: Runtime) -> DualOptim | None:
    return runtime.optimizer if isinstance(runtime.optimizer, DualOptim) else None
