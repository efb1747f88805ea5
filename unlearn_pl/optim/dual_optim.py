"""AdamW with separate moments for the forget and the retain gradient."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from unlearn_pl.types import Role

ROLES: tuple[Role, Role] = ("forget", "retain")
SHARED = "shared"
KINDS = (*ROLES, SHARED)


class DualOptim(Optimizer):
    """``theta <- theta - lr (r Adam_f(g_f) + Adam_r(g_r)) - lr * weight_decay * theta``, two Adams with a state each.

    Forget and retain gradients differ in scale, and their ratio keeps changing. With one optimizer, the larger of them
    dominates both moments; here each is averaged and normalized separately.

    The engine passes the gradient of each role to :meth:`take`, clipped separately, and then calls :meth:`step` once. A
    role that is inactive in a step neither moves the weights nor changes its moments.

    With ``shared`` (DualOptim+), what both gradients have in common is averaged over both: there are moments ``m_b``
    and ``v_b`` of all gradients, and each role has those of its difference from them::

        m_k <- beta1 m_k + (1 - beta1) (g_k - m_b),  v_k <- beta2 v_k + (1 - beta2) (g_k^2 - v_b)
        theta <- theta - lr (m_k + m_b) / (sqrt |v_k + v_b| + eps)
        m_b <- beta1 m_b + (1 - beta1) g_k,          v_b <- beta2 v_b + (1 - beta2) g_k^2

    for the forget and then for the retain gradient; moments are corrected for their start at 0 wherever they are read.

    Args:
        params: parameters, or groups of them.
        lr: learning rate.
        betas: decay rates of the two moments, for both roles.
        eps: added to the root of the second moment.
        weight_decay: decoupled, applied once per step.
        forget_lr_ratio: ``r``, the learning rate of the forget gradient as a multiple of ``lr``.
        shared: whether the roles share moments of what they have in common. The authors' ``betas`` are then 0.9 and
            0.95, and the state takes half as much memory again.

    Raises:
        ValueError: if an argument is out of range.

    References:
        Zhong et al., DualOptim: Enhancing Efficacy and Stability in Machine Unlearning with Dual Optimizers,
        arXiv 2504.15827; DualOptim+, arXiv 2605.21539 (``shared``). Simplified: the authors alternate between forget
        and retain steps; here both updates come from gradients at the same weights, in the same step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-5,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        forget_lr_ratio: float = 1.0,
        shared: bool = False,
    ) -> None:
        settings = {"lr": lr, "eps": eps, "weight_decay": weight_decay, "forget_lr_ratio": forget_lr_ratio}
        if negative := {name: value for name, value in settings.items() if not value >= 0}:
            raise ValueError(f"{negative} must not be negative.")
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas is {betas}; accepted: two numbers in [0, 1).")
        # Groups of earlier checkpoints have no such entry.
        super().__init__(params, {**settings, "betas": tuple(betas), **({"shared": True} if shared else {})})
        self._taken: dict[Role, dict[nn.Parameter, Tensor]] = {}

    def take(self, role: Role, parameters: Sequence[nn.Parameter], row: Sequence[Tensor | None]) -> None:
        """Store the gradient of one role for the next step.

        Args:
            role: role of the gradient.
            parameters: parameters of this optimizer.
            row: one gradient ``[...]`` per parameter, None for a parameter that the role does not reach.
        """
        self._taken[role] = {p: g for p, g in zip(parameters, row, strict=True) if g is not None}

    def moves(self, parameter: nn.Parameter) -> bool:
        """Whether the next step will move ``parameter``: a gradient of some role was stored for it."""
        return any(parameter in taken for taken in self._taken.values())

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update the weights with the stored gradients, and clear these."""
        loss = None if closure is None else closure()
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    self._update(parameter, group)
        self._taken = {}
        return loss

    def _update(self, parameter: nn.Parameter, group: Mapping[str, Any]) -> None:
        if parameter.grad is not None:
            # Distributed checkpoints step on gradients of 0 first, so that there is a state to load into.
            self._state_of(parameter, group)
        gradients = {role: taken[parameter] for role, taken in self._taken.items() if parameter in taken}
        if gradients:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
        for role, gradient in gradients.items():
            rate = group["lr"] * (group["forget_lr_ratio"] if role == "forget" else 1.0)
            direction = self._adam_plus if group.get("shared", False) else self._adam
            parameter.add_(direction(role, parameter, gradient, group), alpha=-rate)

    def _adam(self, role: Role, parameter: nn.Parameter, gradient: Tensor, group: Mapping[str, Any]) -> Tensor:
        """``m / (sqrt(v) + eps)`` with the moments of ``role``, both corrected for their start at 0."""
        state = self._state_of(parameter, group)
        _average(state, role, gradient, group["betas"])
        moment, variance = _corrected(state, role, group["betas"])
        return moment / (variance.sqrt() + group["eps"])

    def _adam_plus(self, role: Role, parameter: nn.Parameter, gradient: Tensor, group: Mapping[str, Any]) -> Tensor:
        """``(m_k + m_b) / (sqrt |v_k + v_b| + eps)`` with moments of the role and of both; the latter change after."""
        state, betas = self._state_of(parameter, group), group["betas"]
        common, common_sq = _corrected(state, SHARED, betas)
        _average(state, role, gradient, betas, less=(common, common_sq))
        own, own_sq = _corrected(state, role, betas)
        _average(state, SHARED, gradient, betas)
        return (own + common) / ((own_sq + common_sq).abs().sqrt() + group["eps"])

    def _state_of(self, parameter: nn.Parameter, group: Mapping[str, Any]) -> dict[str, Tensor]:
        state = cast(dict[str, Tensor], self.state[parameter])
        if not state:
            kinds = [*ROLES, SHARED] if group.get("shared", False) else ROLES
            for kind in kinds:
                state[f"{kind}_exp_avg"] = torch.zeros_like(parameter)
                state[f"{kind}_exp_avg_sq"] = torch.zeros_like(parameter)
            # Under any other name, loading would round the numbers to the dtype of the weights.
            state["step"] = torch.zeros(len(kinds))
        return state


def _average(
    state: Mapping[str, Tensor],
    kind: str,
    gradient: Tensor,
    betas: tuple[float, float],
    less: tuple[Tensor, Tensor] | None = None,
) -> None:
    """Update the moments of a role, or of both, with a gradient and its square, ``less`` others; count the update."""
    decay, decay_sq = betas
    state["step"][KINDS.index(kind)] += 1
    state[f"{kind}_exp_avg"].lerp_(gradient if less is None else gradient - less[0], 1 - decay)
    variance = state[f"{kind}_exp_avg_sq"]
    variance.mul_(decay_sq).addcmul_(gradient, gradient, value=1 - decay_sq)
    if less is not None:
        variance.sub_(less[1], alpha=1 - decay_sq)


def _corrected(state: Mapping[str, Tensor], kind: str, betas: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """The moments, corrected for their start at 0; 0 before the first update."""
    steps = max(1.0, float(state["step"][KINDS.index(kind)]))
    decay, decay_sq = betas
    return state[f"{kind}_exp_avg"] / (1 - decay**steps), state[f"{kind}_exp_avg_sq"] / (1 - decay_sq**steps)
