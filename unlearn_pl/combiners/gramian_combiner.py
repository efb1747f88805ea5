"""Base class of rules on the Gramian of the gradients."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from unlearn_pl.combiners.base import Combiner
from unlearn_pl.combiners.liveness import Liveness
from unlearn_pl.combiners.normalization import Normalization, NormalizationKind
from unlearn_pl.functional import min_norm_weights
from unlearn_pl.types import Role

STATIONARY = 1e-12
"""Below this squared length, the shortest average of unit gradients is rounding noise, not a direction."""


class GramianCombiner(Combiner):
    """Weights from the Gramian ``G = J J^T`` and the losses; subclasses implement :meth:`weigh`.

    A call performs the steps that all rules share, in this order:

    1. Drop inactive objectives (:class:`~unlearn_pl.combiners.liveness.Liveness`) and those that their goals keep out.
    2. Return zeros, so that the step is skipped, if none is active or the active ones are stationary: no direction
       descends all of them. A single active objective has weight 1.
    3. Divide each gradient by its ``n_k`` (:class:`~unlearn_pl.combiners.normalization.Normalization`), let the rule
       choose ``lambda`` for these, and return ``w_k = lambda_k mean(n) / n_k`` for the raw gradients. The mean of the
       ``n_k`` gives the step the length of a mean of gradients, so that clipping and plain SGD see the usual scale,
       and that length still tends to 0 where no direction descends all objectives.

    With a Gramian per block of parameters (``[..., K, K]``), activity and stationarity are determined from their sum,
    and the rest is done for each block separately, among the objectives that reach it.

    Attributes:
        members: ``[K]`` bool, during :meth:`weigh`: the objectives whose gradients it is given.
        block: during :meth:`weigh`: number of the block of parameters; 0 if there is only one.
        least_active: with fewer active objectives, each has weight 1, and :meth:`weigh` is not called.

    Args:
        normalization: ``none``, ``l2`` or ``ema``.
        norm_decay: decay of the average norm of ``ema``.
        norm_floor: ``n_k`` is at least this fraction of the objective's largest norm so far.
        min_relative_norm: gradients shorter than this fraction of the longest are dropped.
        satisfied: threshold of the losses: below it, an objective is inactive until its loss exceeds twice the
            threshold (hysteresis). A number applies to the objectives of role ``forget``, a dictionary to those that it
            names. Only for losses that are never negative.
        satisfied_decay: decay of the moving average of the losses that is compared with the threshold.
        noise_factor: an objective whose gradient starts at zero is inactive up to this multiple of its first norm.

    Raises:
        ValueError: if an argument is out of range.
    """

    least_active: ClassVar[int] = 2

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
        super().__init__()
        self._normalization = Normalization(normalization, norm_decay, norm_floor)
        self._liveness = Liveness(min_relative_norm, noise_factor, satisfied, satisfied_decay)

    def setup(self, names: Sequence[str], roles: Sequence[Role], zero_at_start: Sequence[bool] = ()) -> None:
        """See :meth:`Combiner.setup`; also raises ``ValueError`` if ``satisfied`` names an unknown objective."""
        super().setup(names, roles, zero_at_start)
        self._liveness.setup(names, roles, zero_at_start or [False] * len(names))
        self._normalization.reset()
        self.members, self.block = self.live, 0

    @property
    def satisfied_now(self) -> Tensor:
        """``[K]`` bool: the objectives that are satisfied."""
        return self._liveness.satisfied_now

    def __call__(self, gramian: Tensor | None, losses: Tensor) -> Tensor:
        """See :meth:`Combiner.__call__`.

        Raises:
            ValueError: also if the Gramian is missing.
        """
        losses = self._checked(gramian, losses)
        if gramian is None:
            raise ValueError(f"{type(self).__name__} needs the Gramian of the gradients, but None was given.")
        gramian = gramian.detach().to("cpu", torch.float64)
        weights = self._weigh_blocks(gramian.reshape(-1, len(losses), len(losses)), losses)
        return weights.reshape(gramian.shape[:-1])

    def observe(self, losses: Tensor) -> bool:
        """Update with the losses of a step that reuses the last weights.

        Args:
            losses: ``[K]``.

        Returns:
            True if an objective crossed its ``satisfied`` threshold in either direction: those weights are then stale.

        Raises:
            ValueError: if a loss with a threshold is negative.
        """
        return self._liveness.observe(losses.detach().to("cpu", torch.float64))

    @abstractmethod
    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights of the normalized gradients of the active objectives.

        Args:
            gramian: ``[K, K]`` fp64, inner products of the normalized gradients, all active, K at least
                ``least_active``; the matrix of cosines with ``l2``.
            losses: ``[K]`` fp64 of the same objectives.

        Returns:
            ``[K]`` fp64 on the CPU.
        """

    def members_of(self, role: Role) -> Tensor:
        """``[k]`` bool, during :meth:`weigh`: the objectives of this role among the k that it is given."""
        return super().members_of(role)[self.members]

    def _weigh_blocks(self, blocks: Tensor, losses: Tensor) -> Tensor:
        total = blocks.sum(dim=0)
        self.live = self._liveness.update(_norms(total), losses) & ~self.paused
        self.stationarity = _stationarity(total[self.live][:, self.live])

        norms = _norms(blocks)
        longest = norms.masked_fill(~self.live, 0.0).amax(dim=-1, keepdim=True)
        present = self.live & (norms > self._liveness.min_relative_norm * longest)
        scales = self._normalization.update(norms, where=present)

        weights = torch.zeros_like(norms)
        if self.stationarity >= STATIONARY:
            for block, members in enumerate(present):
                self.members, self.block = members, block
                own = blocks[block][members][:, members]
                weights[block, members] = self._weigh_block(own, losses[members], scales[block, members])
        return weights

    def _weigh_block(self, gramian: Tensor, losses: Tensor, scales: Tensor) -> Tensor:
        if len(losses) < self.least_active:
            return torch.ones_like(losses)
        return self.weigh(gramian / scales.outer(scales), losses) * scales.mean() / scales

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`Combiner.state_dict`; includes the state of activity and normalization."""
        return super().state_dict() | {
            "liveness": self._liveness.state_dict(),
            "normalization": self._normalization.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :meth:`Combiner.load_state_dict`."""
        super().load_state_dict(state)
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
