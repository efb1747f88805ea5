"""Weight decay that respects a mask."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Optimizer

from unlearn_pl.masks import Mask
from unlearn_pl.optim.dual_optim import DualOptim


def mask_weight_decay(optimizer: Optimizer, mask: Mask, names: Mapping[nn.Parameter, str]) -> None:
    """Restrict weight decay to the weights that may change: ``theta <- theta - lr * weight_decay * mask * theta``.

    Just before every step the decay is applied here, and the optimizer takes that step without one. Between steps its
    groups hold the user's settings, so that schedules, logs and checkpoints are not affected.

    Args:
        optimizer: one whose decay is decoupled from the gradient: AdamW, :class:`DualOptim`, or another PyTorch
            optimizer with ``decoupled_weight_decay=True``. Any optimizer without weight decay.
        mask: an element-wise mask.
        names: parameter to its name.

    Raises:
        ValueError: if the optimizer adds its decay to the gradient, or the mask does not implement ``elements``.
    """
    decaying = [group for group in optimizer.param_groups if group.get("weight_decay", 0)]
    if not decaying:
        return
    _check(optimizer, decaying[0], mask)
    taken_out: list[float] = []

    def before(*_: object) -> None:
        taken_out[:] = [group["weight_decay"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            factor = 1 - group["lr"] * group["weight_decay"]
            group["weight_decay"] = 0.0
            for parameter in group["params"]:
                if _moves(optimizer, parameter):
                    _shrink(parameter, mask.elements(names[parameter], parameter), factor)

    def after(*_: object) -> None:
        for group, decay in zip(optimizer.param_groups, taken_out, strict=True):
            group["weight_decay"] = decay

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)


def _check(optimizer: Optimizer, group: Mapping[str, object], mask: Mask) -> None:
    decay = f"{type(optimizer).__name__} has weight_decay={group['weight_decay']}"
    if not isinstance(optimizer, AdamW | DualOptim) and not group.get("decoupled_weight_decay"):
        raise ValueError(
            f"{decay}, which it adds to the gradient, and so would move the weights that {type(mask).__name__} keeps "
            "fixed. Accepted: torch.optim.AdamW, DualOptim, or weight_decay=0."
        )
    if type(mask).elements is Mask.elements:
        raise ValueError(
            f"{decay}, but {type(mask).__name__} does not say which weights it keeps: it has no method `elements`. "
            "Write it, or set weight_decay=0."
        )


def _moves(optimizer: Optimizer, parameter: nn.Parameter) -> bool:
    """Optimizers skip parameters without a gradient, weight decay included."""
    return optimizer.moves(parameter) if isinstance(optimizer, DualOptim) else parameter.grad is not None


@torch.no_grad()
def _shrink(parameter: Tensor, kept: Tensor | None, factor: float) -> None:
    weight = _local(parameter)
    if kept is None:
        weight.mul_(factor)
    else:
        weight.copy_(torch.where(_local(kept), weight * factor, weight))


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
