"""Warnings about what goes badly with estimated gradients."""

import torch
from torch.optim import Optimizer

SMALLEST_IN_HALF = 5e-4
"""Below it, shifts of the weights are about as small as the spacing of numbers of 16 bits: slopes are off by half."""
_NORMALIZING = (
    torch.optim.Adagrad,
    torch.optim.Adadelta,
    torch.optim.RMSprop,
    torch.optim.Rprop,
    torch.optim.Adafactor,
)


def adaptive_steps(source: object, optimizer: Optimizer) -> list[str]:
    """A warning if the optimizer divides each element by its own size, as Adam does; else nothing."""
    if "betas" not in optimizer.param_groups[0] and not isinstance(optimizer, _NORMALIZING):
        return []
    return [
        f"{type(optimizer).__name__} divides the gradient by its size element by element, but most of the size of an "
        f"estimate by {type(source).__name__} is noise: every weight is moved by the learning rate at random. Use "
        "torch.optim.SGD without momentum, and gradient_clip_val."
    ]


def lost_in_rounding(mu: float, optimizer: Optimizer) -> list[str]:
    """A warning if shifts by ``mu`` are lost in weights of 16 bits; else nothing."""
    weights = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    if mu >= SMALLEST_IN_HALF or not any(p.dtype in (torch.bfloat16, torch.float16) for p in weights):
        return []
    return [
        f"mu={mu:g} is lost in the rounding of weights of 16 bits. Use mu=1e-3, or keep the trained weights in fp32 "
        "(LoRA, or precision='bf16-mixed')."
    ]
