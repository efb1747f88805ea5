"""One gradient per role instead of one per objective, for the price of a plain sum."""

from collections.abc import Mapping
from typing import Any, get_args

import torch
from torch import Tensor

from unlearn_pl.gradients.base import GradientSource
from unlearn_pl.gradients.geometry import Geometry
from unlearn_pl.gradients.gradients import Gradients
from unlearn_pl.gradients.kept_rows import KeptRows
from unlearn_pl.gradients.replay import Replay
from unlearn_pl.gradients.rows import Row, combine, reduced_products
from unlearn_pl.gradients.runtime import Runtime
from unlearn_pl.gradients.sources.first_order import plain_sum
from unlearn_pl.gradients.summed_gradient import SummedGradient
from unlearn_pl.gradients.window import Window
from unlearn_pl.types import Role

ROLES: tuple[Role, ...] = get_args(Role)


class RoleSums(GradientSource):
    """``s_r = sum_k g_k / n_k`` over the objectives of each role r, with norms ``n_k`` of every m-th step.

    Objectives of one role are back-propagated together, as in a plain sum, so that a step takes one backward pass per
    forward pass and keeps two gradients, whatever the number of objectives. Every m-th step measures each gradient, and
    with it the norms. In between, every objective stands for its role: ``g_k`` is ``n_k s_r / |s_r|``. Rules that look
    at roles, such as :class:`~unlearn_pl.combiners.GoalBarrier`, then take the step that they would take with the
    gradient of each and these norms; others see the conflict between roles, and not that inside of one.

    Args:
        measure_every: m, at least 1; 1 is the same as :class:`~unlearn_pl.gradients.FirstOrder`.

    Raises:
        ValueError: if ``measure_every`` is below 1.
    """

    plain = True
    whole_rows = False

    def __init__(self, measure_every: int = 8) -> None:
        if measure_every < 1:
            raise ValueError(f"measure_every is {measure_every}; accepted: 1 (every step) or more optimizer steps.")
        self.measure_every = measure_every
        self.reset()

    def reset(self) -> None:
        """Discard the norms: the next step measures every gradient."""
        self._norms: dict[str, float] = {}
        self._age = 0

    def measure(self, window: Window, runtime: Runtime) -> Gradients:
        """The gradients of every objective at every m-th step, else the sums of the roles."""
        replay = Replay(window, runtime)
        if not self._norms or self._age >= self.measure_every - 1:
            self.reset()
            rows = replay.rows()
            return KeptRows(replay.readings, rows, runtime, replay.storage)
        self._age += 1
        live = {name: norm for name, norm in self._norms.items() if norm > 0}
        parts = {role: {name: 1 / live[name] for name in window.names_of(role) if name in live} for role in ROLES}
        sums = replay.sums({role: part for role, part in parts.items() if part})
        return SummedRoles(replay.readings, sums, live, window, runtime)  # type: ignore[arg-type]

    def observe(self, norms: Mapping[str, float]) -> None:
        """Keep the norms of a step that measured every gradient; 0 for objectives that are not active."""
        if self._age == 0 and any(norms.values()):
            self._norms = dict(norms)

    def weighted_sum(self, window: Window, runtime: Runtime, weights: Mapping[str, float]) -> SummedGradient:
        """The gradient of the weighted sum of the losses."""
        return plain_sum(window, runtime, weights)

    def state_dict(self) -> dict[str, Any]:
        """The norms and their age."""
        return {"norms": dict(self._norms), "age": self._age}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from ``state``."""
        self._norms, self._age = dict(state["norms"]), state["age"]


class SummedRoles(Gradients):
    """The sums of the roles, each standing for its objectives.

    Args:
        readings: ``[K, 3]`` this rank's shares of the mean losses and of the progress.
        sums: role to row, reduced over ranks.
        norms: name of an active objective to the norm that its gradient stands for.
        window: the objectives.
        runtime: parameters and ranks.
    """

    def __init__(
        self, readings: Tensor, sums: Mapping[Role, Row], norms: Mapping[str, float], window: Window, runtime: Runtime
    ) -> None:
        self._readings = readings
        self._sums = sums
        self._runtime = runtime
        roles = list(sums)
        self._norms = torch.zeros(len(window.objectives), len(roles), dtype=torch.float64)
        for k, (name, objective) in enumerate(window.objectives.items()):
            if name in norms:
                self._norms[k, roles.index(objective.role)] = norms[name]

    def measure(self, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """See :meth:`Gradients.measure`."""
        runtime, rows = self._runtime, list(self._sums.values())
        ranks, parts = runtime.world_size, runtime.sharded
        readings, products = reduced_products(
            self._readings, rows, geometry.blocks, geometry.metric, world_size=ranks, parts=parts
        )
        lengths = products.sum(dim=0).diagonal().clamp(min=0).sqrt()
        self._factors = self._norms / torch.where(lengths > 0, lengths, 1.0)  # [K, R]: g_k = factor s_r
        return readings, self._factors @ products @ self._factors.T

    def combine(self, weights: Tensor, geometry: Geometry) -> None:
        """See :meth:`Gradients.combine`; after :meth:`measure`."""
        rows = list(self._sums.values())
        combine(self._runtime.parameters, rows, (weights @ self._factors).tolist(), geometry.blocks)
