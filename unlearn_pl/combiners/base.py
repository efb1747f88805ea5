"""Base class of combiners: the Gramian of the gradients, or the losses, in; one weight per gradient out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from unlearn_pl.goals import Standing
from unlearn_pl.recording import Recorded
from unlearn_pl.types import Role


class Combiner(Recorded, ABC):
    """Computes weights ``w`` for the combined gradient ``sum_k w_k g_k``.

    There are three kinds: :class:`~unlearn_pl.combiners.LossCombiner` (weights from the losses of the previous step, so
    that a single gradient is accumulated), :class:`~unlearn_pl.combiners.GramianCombiner` (weights from the Gramian of
    the gradients), and :class:`~unlearn_pl.combiners.RowCombiner` (a rule on the elements of the gradients).

    State is fp64 on the CPU. Equal inputs give equal weights, on every rank.

    Attributes:
        uses_gramian: whether a call needs the Gramian.
        min_objectives: smallest K.
        max_objectives: largest K.
        needs_roles: roles of which there must be at least one objective each.
        weighs_distances: whether the rule needs goals, and weighs the distances from them itself.
        standing: the distances from the goals.
        live: ``[K]`` bool: the objectives that were active in the last call.
        stationarity: squared length of the shortest average of the active unit gradients at the last call: 1 when they
            all agree, ``1/K`` when they are orthogonal, 0 when no direction descends all of them; NaN without a
            Gramian.
    """

    uses_gramian: ClassVar[bool] = True
    min_objectives: ClassVar[int] = 1
    max_objectives: ClassVar[int] = 8
    needs_roles: ClassVar[frozenset[Role]] = frozenset()
    weighs_distances: ClassVar[bool] = False

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._roles: tuple[Role, ...] = ()

    def setup(self, names: Sequence[str], roles: Sequence[Role], zero_at_start: Sequence[bool] = ()) -> None:
        """Reset the state, for these objectives.

        Args:
            names: names of the objectives, in the order of the Gramian's rows.
            roles: whether each forgets or retains.
            zero_at_start: whether the gradient of each is zero, apart from noise, at the first call; empty for none.

        Raises:
            ValueError: if there are too few or too many objectives, a role that the rule needs is missing, lengths
                differ, names repeat, or the arguments of the constructor name an unknown objective.
        """
        zero_at_start = zero_at_start or [False] * len(names)
        if not self.min_objectives <= len(names) <= self.max_objectives:
            raise ValueError(
                f"{len(names)} objectives were given, but {type(self).__name__} combines {self.min_objectives} to "
                f"{self.max_objectives}."
            )
        if len(set(names)) < len(names):
            raise ValueError(f"The names of objectives must differ, but are {list(names)}.")
        if not len(names) == len(roles) == len(zero_at_start):
            raise ValueError(
                f"names, roles and zero_at_start must have one entry per objective, but have "
                f"{len(names)}, {len(roles)} and {len(zero_at_start)}."
            )
        if missing := sorted(self.needs_roles - set(roles)):
            given = dict(zip(names, roles, strict=True))
            raise ValueError(
                f"{type(self).__name__} needs an objective of role {' and one of role '.join(missing)}, but the "
                f"objectives have the roles {given}."
            )
        self._names = tuple(names)
        self._roles = tuple(roles)
        self.live = torch.ones(len(names), dtype=torch.bool)
        self.stationarity = float("nan")
        self.standing = Standing.without_goals(len(names))

    @abstractmethod
    def __call__(self, gramian: Tensor | None, losses: Tensor) -> Tensor:
        """Weights for the raw gradients.

        Args:
            gramian: ``[..., K, K]`` inner products of the gradients; may be None if ``uses_gramian`` is False.
            losses: ``[K]``.

        Returns:
            ``[..., K]`` fp64 on the CPU; 0 for inactive objectives, and all 0 if the step is to be skipped.

        Raises:
            ValueError: if a shape does not fit the objectives of :meth:`setup`.
        """

    def aim(self, standing: Standing) -> None:
        """Receive the distances from the goals, once per step, before the call that they concern."""
        self.standing = standing

    @property
    def paused(self) -> Tensor:
        """``[K]`` bool: objectives that met their goals, and all of role ``forget`` while a floor is broken.

        None, for rules that weigh the distances themselves.
        """
        if self.weighs_distances:
            return torch.zeros(len(self._names), dtype=torch.bool)
        return self.standing.met | (self._of_role("forget") & self.standing.broken.any())

    @property
    def satisfied_now(self) -> Tensor:
        """``[K]`` bool: the objectives whose loss is below its threshold; none, for rules without thresholds."""
        return torch.zeros(len(self._names), dtype=torch.bool)

    def observe(self, losses: Tensor) -> bool:
        """Update with the losses ``[K]`` of a step that reuses the last weights.

        Returns:
            True if those weights are stale.
        """
        return False

    def members_of(self, role: Role) -> Tensor:
        """``[K]`` bool: the objectives of this role."""
        return self._of_role(role)

    def _of_role(self, role: Role) -> Tensor:
        return torch.tensor([own == role for own in self._roles], dtype=torch.bool)

    def _checked(self, gramian: Tensor | None, losses: Tensor) -> Tensor:
        """``losses [K]`` in fp64 on the CPU, after a check of all shapes."""
        size = len(self._names)
        if losses.shape != (size,) or (gramian is not None and gramian.shape[-2:] != (size, size)):
            shape = None if gramian is None else list(gramian.shape)
            raise ValueError(
                f"gramian {shape} and losses {list(losses.shape)} were given, but setup() named "
                f"{size} objectives: {list(self._names)}."
            )
        return losses.detach().to("cpu", torch.float64)

    def state_dict(self) -> dict[str, Any]:
        """State for :meth:`load_state_dict`: tensors and plain values only."""
        return {"rule": type(self).__name__, "names": list(self._names)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from ``state``, after :meth:`setup`.

        Raises:
            ValueError: if the state belongs to a different rule or to different objectives.
        """
        if state["names"] != list(self._names):
            raise ValueError(f"The state is of objectives {state['names']}, but setup() named {list(self._names)}.")
        if state["rule"] != type(self).__name__:
            raise ValueError(f"The state is of the combiner {state['rule']}, but this one is {type(self).__name__}.")
