"""The shortest change of the retain direction that forgets as fast as the distance to the goal demands."""

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from unlearn_pl.combiners.gramian_combiner import STATIONARY, GramianCombiner
from unlearn_pl.combiners.options import CombinerOptions
from unlearn_pl.goals import Standing
from unlearn_pl.types import Role


class GoalBarrier(GramianCombiner):
    """``argmin_d |d - u_r|^2  s.t.  u_f . d >= pull``, with a pull that fades at the goal and where no room is left.

    ``u_f`` and ``u_r`` are the unit vectors of the sums of the unit gradients of each role, so that neither the scale
    of a loss nor the number of objectives of a role matters. In closed form, with ``c = u_f . u_r``::

        d = u_r + max(0, pull - c) u_f        (d = u_r without a pull)
        pull = (kappa e + I) room

    ``e`` is the distance from the goal of the forget objectives (1 at the start, 0 at the goal), ``room`` that of the
    retain objectives from their floors (1 at the start, 0 at the floor), the smallest of several. To first order, the
    retain side therefore never rises faster than ``pull`` allows: its floor is a control barrier. Without floors, the
    room is 1.

    The integral ``I`` lets the pull arrive, which a proportional one does not when few steps are left: it grows by
    ``gain e room`` per step, and shrinks by ``brake |e|`` beyond the goal.

    Args:
        kappa: pull at the start, positive; 1 forgets as steeply as the retain side descends.
        gain: growth of the integral per step, at least 0.
        brake: decrease of the integral per step beyond the goal, at least 0.
        options: see :class:`CombinerOptions`.

    Raises:
        ValueError: if an argument is out of range.

    References:
        Ames et al., Control barrier function based quadratic programs for safety critical systems, IEEE TAC 2017, for
        the barrier; Gong et al., Automatic and harmless regularization with constrained and lexicographic optimization:
        a dynamic barrier approach, NeurIPS 2021, for the problem, here with directions in place of gradients and the
        distance from the goal in place of the loss.
    """

    needs_roles: ClassVar[frozenset[Role]] = frozenset({"forget", "retain"})
    weighs_distances: ClassVar[bool] = True
    least_active: ClassVar[int] = 1

    def __init__(
        self, kappa: float = 1.0, gain: float = 0.1, brake: float = 0.3, **options: Unpack[CombinerOptions]
    ) -> None:
        super().__init__(**options)
        if not 0 < kappa < float("inf"):
            raise ValueError(f"kappa is {kappa}, but must be positive and finite.")
        if not (0 <= gain < float("inf") and 0 <= brake < float("inf")):
            raise ValueError(f"gain is {gain} and brake {brake}, but they must be finite and not negative.")
        self.kappa, self.gain, self.brake = kappa, gain, brake
        self._integral = 0.0

    def setup(self, names: Sequence[str], roles: Sequence[Role], zero_at_start: Sequence[bool] = ()) -> None:
        """See :meth:`Combiner.setup`; also resets the integral."""
        super().setup(names, roles, zero_at_start)
        self._integral = 0.0

    def aim(self, standing: Standing) -> None:
        """See :meth:`Combiner.aim`; also updates the integral."""
        super().aim(standing)
        distance = self.distance
        change = self.gain * distance * self.room if distance > 0 else self.brake * distance
        self._integral = max(0.0, self._integral + change)

    @property
    def distance(self) -> float:
        """``e``: the largest distance of a forget objective from its goal, at most 1; 1 before it is known."""
        return min(1.0, max(self.standing.of(self._of_role("forget")).tolist(), default=1.0))

    @property
    def room(self) -> float:
        """The smallest distance of a retain objective from its floor, in [0, 1]; 1 without floors."""
        return min([1.0, *self.standing.of(self._of_role("retain")).clamp(min=0.0).tolist()])

    @property
    def pull(self) -> float:
        """The steepness of forgetting that is asked for; 0 at the goal and beyond it."""
        return (self.kappa * self.distance + self._integral) * self.room if self.distance > 0 else 0.0

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights ``[K]`` of ``d``."""
        open_goals = ~(self.standing.distance <= 0)[self.members]
        forget = _unit(gramian, self.members_of("forget") & open_goals)
        retain = _unit(gramian, self.members_of("retain"))
        cosine = (forget @ gramian @ retain).item()
        push = max(0.0, self.pull - cosine) if self.pull > 0 else 0.0
        return retain + push * forget

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`Combiner.state_dict`; includes the integral."""
        return super().state_dict() | {"integral": self._integral}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :meth:`Combiner.load_state_dict`."""
        super().load_state_dict(state)
        self._integral = state["integral"]


def _unit(gramian: Tensor, members: Tensor) -> Tensor:
    """Weights ``[K]`` of the unit vector along the sum of ``members [K]``; 0 where they cancel or there are none."""
    weights = members.to(gramian.dtype)
    square = weights @ gramian @ weights
    return weights / square.sqrt() if square > STATIONARY else torch.zeros_like(weights)
