"""What a combiner is: from the Gramian of the gradients to a weight for each."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from unlearn_pl.combiners.liveness import Liveness
from unlearn_pl.combiners.normalization import Normalization, NormalizationKind
from unlearn_pl.functional import min_norm_weights
from unlearn_pl.recording import Recorded
from unlearn_pl.types import Role

STATIONARY = 1e-12
"""Below this squared length, the shortest average of unit gradients is rounding noise, not a direction."""


class Combiner(Recorded, ABC):
    """Weights ``w`` such that the step follows ``sum_k w_k g_k``; a subclass writes :meth:`weigh`.

    A call does what all rules share, in this order:

    1. Leave out objectives that are not live (:class:`~unlearn_pl.combiners.liveness.Liveness`).
    2. Return zeros, so that the step is skipped, if none is left or the live ones are stationary: no direction descends
       all of them. One live objective alone has weight 1.
    3. Divide each gradient by its ``n_k`` (:class:`~unlearn_pl.combiners.normalization.Normalization`), let the rule
       choose ``lambda`` for these, and return ``w_k = lambda_k mean(n) / n_k`` for the raw gradients. The mean of the
       ``n_k`` gives the step the length of a mean of gradients, so that clipping and plain SGD see the usual scale,
       and that length still tends to 0 where the objectives cannot be reconciled.

    With a Gramian per block of parameters (``[..., K, K]``), liveness and stationarity are judged on their sum, and
    the rest is done for every block by itself, among the objectives that reach it.

    State is fp64 on the CPU. Equal inputs give equal weights, on every rank.

    Attributes:
        uses_gramian: False for rules that need losses only. They are asked before the backward pass, which can then
            accumulate a single gradient; ``losses`` are then those of the step before (NaN at the first step), nothing
            is normalised and nobody is left out.
        min_objectives: smallest K.
        max_objectives: largest K.
        needs_roles: roles of which there must be at least one objective each.
        live: ``[K]`` who took part in the last call.
        members: ``[K]`` during :meth:`weigh`: whose gradients it is asked about.
        block: during :meth:`weigh`: which block of parameters it is asked about, 0 if there is only one.
        satisfied_now: ``[K]`` whose loss is below its threshold.
        stationarity: squared length of the shortest average of the live unit gradients at the last call: 1 when they
            all agree, ``1/K`` when they are orthogonal, 0 when they cannot be reconciled; NaN without a Gramian.

    Args:
        normalization: ``none``, ``l2`` or ``ema``.
        norm_decay: decay of the average norm of ``ema``.
        norm_floor: ``n_k`` is at least this fraction of the objective's largest norm so far.
        min_relative_norm: gradients shorter than this fraction of the longest are left out.
        satisfied: losses below this threshold leave their objective out until they exceed twice the threshold. A number
            concerns the objectives of role ``forget``, a dictionary those that it names. Meant for losses that are
            never negative.
        satisfied_decay: decay of the moving average of the losses that is compared.
        noise_factor: an objective that starts at a zero gradient is left out up to this multiple of its first norm.

    Raises:
        ValueError: if an argument is out of its range.
    """

    uses_gramian: ClassVar[bool] = True
    min_objectives: ClassVar[int] = 1
    max_objectives: ClassVar[int] = 8
    needs_roles: ClassVar[frozenset[Role]] = frozenset()

    def __init__(
        self,
        *,
        normalization: NormalizationKind = "l2",
        norm_decay: float = 0.9,
        norm_floor: float = 0.0,
        min_relative_norm: float = 1e-6,
        satisfied: float | dict[str, float] | None = None,
        satisfied_decay: float = 0.9,
        noise_factor: float = 2.0,
    ) -> None:
        self._normalization = Normalization(normalization, norm_decay, norm_floor)
        self._liveness = Liveness(min_relative_norm, noise_factor, satisfied, satisfied_decay)
        self._names: tuple[str, ...] = ()
        self._roles: tuple[Role, ...] = ()

    def setup(self, names: Sequence[str], roles: Sequence[Role], zero_at_start: Sequence[bool] = ()) -> None:
        """Get ready for these objectives, and forget what earlier steps left.

        Args:
            names: of the objectives, in the order of the Gramian's rows.
            roles: whether each forgets or keeps.
            zero_at_start: whether each has a zero gradient, but for noise, at the first call; nobody when empty.

        Raises:
            ValueError: if there are too few or too many, a role that the rule needs is missing, lengths differ, names
                repeat, or the arguments of the constructor name an unknown objective.
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
        self._liveness.setup(names, roles, zero_at_start)
        self._normalization.reset()
        self.live = torch.ones(len(names), dtype=torch.bool)
        self.members, self.block = self.live, 0
        self.stationarity = float("nan")

    @property
    def satisfied_now(self) -> Tensor:
        """``[K]`` bool: whose loss is below its threshold."""
        return self._liveness.satisfied_now

    def __call__(self, gramian: Tensor | None, losses: Tensor) -> Tensor:
        """Weights for the raw gradients.

        Args:
            gramian: ``[..., K, K]`` inner products of the gradients; may be None if ``uses_gramian`` is False.
            losses: ``[K]``.

        Returns:
            ``[..., K]`` fp64 on the CPU; 0 for objectives that are left out, and all 0 when the step is to be skipped.

        Raises:
            ValueError: if a shape does not fit the objectives of :meth:`setup`, or the Gramian is missing.
        """
        size = len(self._names)
        if losses.shape != (size,) or (gramian is not None and gramian.shape[-2:] != (size, size)):
            shape = None if gramian is None else list(gramian.shape)
            raise ValueError(
                f"gramian {shape} and losses {list(losses.shape)} were given, but setup() named "
                f"{size} objectives: {list(self._names)}."
            )
        losses = losses.detach().to("cpu", torch.float64)
        if not self.uses_gramian:
            return self._weigh_losses(losses)
        if gramian is None:
            raise ValueError(f"{type(self).__name__} needs the Gramian of the gradients, but None was given.")
        gramian = gramian.detach().to("cpu", torch.float64)
        weights = self._weigh_blocks(gramian.reshape(-1, size, size), losses)
        return weights.reshape(gramian.shape[:-1])

    def observe(self, losses: Tensor) -> bool:
        """Take in the losses of a step that reuses the last weights.

        Args:
            losses: ``[K]``.

        Returns:
            True when an objective has reached or lost its goal (``satisfied``), so that those weights have had their
            day.

        Raises:
            ValueError: if a loss with a threshold is negative.
        """
        return self._liveness.observe(losses.detach().to("cpu", torch.float64))

    @abstractmethod
    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights of the normalised gradients of the objectives that take part.

        Args:
            gramian: ``[K, K]`` fp64, inner products of the normalised gradients, ``K >= 2`` and all live; the matrix
                of cosines with ``l2``. All NaN, with all objectives, if ``uses_gramian`` is False.
            losses: ``[K]`` fp64 of the same objectives.

        Returns:
            ``[K]`` fp64 on the CPU.
        """

    def members_of(self, role: Role) -> Tensor:
        """``[k]`` during :meth:`weigh`: which of the rows that it is given are of objectives of this role."""
        return torch.tensor([own == role for own in self._roles], dtype=torch.bool)[self.members]

    def _weigh_losses(self, losses: Tensor) -> Tensor:
        unknown = torch.full((len(losses), len(losses)), torch.nan, dtype=torch.float64)
        self.live = torch.ones(len(losses), dtype=torch.bool)
        return self.weigh(unknown, losses)

    def _weigh_blocks(self, blocks: Tensor, losses: Tensor) -> Tensor:
        total = blocks.sum(dim=0)
        self.live = self._liveness.update(_norms(total), losses)
        self.stationarity = _stationarity(total[self.live][:, self.live])

        norms = _norms(blocks)
        longest = norms.masked_fill(~self.live, 0.0).amax(dim=-1, keepdim=True)
        present = self.live & (norms > self._liveness.min_relative_norm * longest)
        scales = self._normalization.update(norms, where=present)

        weights = torch.zeros_like(norms)
        if self.stationarity >= STATIONARY:
            for block, who in enumerate(present):
                self.members, self.block = who, block
                weights[block, who] = self._weigh_block(blocks[block][who][:, who], losses[who], scales[block, who])
        return weights

    def _weigh_block(self, gramian: Tensor, losses: Tensor, scales: Tensor) -> Tensor:
        if len(losses) < 2:
            return torch.ones_like(losses)
        return self.weigh(gramian / scales.outer(scales), losses) * scales.mean() / scales

    def state_dict(self) -> dict[str, Any]:
        """What :meth:`load_state_dict` needs to go on from here: tensors and plain values only."""
        return {
            "rule": type(self).__name__,
            "names": list(self._names),
            "liveness": self._liveness.state_dict(),
            "normalization": self._normalization.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state``, after :meth:`setup`.

        Raises:
            ValueError: if the state belongs to another rule, or to other objectives.
        """
        if state["names"] != list(self._names):
            raise ValueError(f"The state is of objectives {state['names']}, but setup() named {list(self._names)}.")
        if state["rule"] != type(self).__name__:
            raise ValueError(f"The state is of the combiner {state['rule']}, but this one is {type(self).__name__}.")
        self._liveness.load_state_dict(state["liveness"])
        self._normalization.load_state_dict(state["normalization"])


def _norms(gramian: Tensor) -> Tensor:
    return gramian.diagonal(dim1=-2, dim2=-1).clamp(min=0.0).sqrt()


def _stationarity(gramian: Tensor) -> float:
    if len(gramian) == 0:
        return float("nan")
    norms = _norms(gramian)
    cosines = gramian / norms.outer(norms)
    weights = min_norm_weights(cosines)
    return (weights @ cosines @ weights).item()
