"""The optimizer when none is given, and the momentum that goals allow."""

import functools

from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities import rank_zero_warn
from torch.optim import AdamW, Optimizer

from unlearn_pl.goals import Goals

MOST_MOMENTUM = 0.5
"""With a beta1 of 0.9, a step is an average over about ten gradients, and a goal is overshot by as many steps."""


def default_optimizer(*, has_goals: bool) -> OptimizerCallable:
    """AdamW with lr 1e-5 and weight decay 0.01; with goals, its beta1 is 0.5."""
    if has_goals:
        return functools.partial(AdamW, lr=1e-5, weight_decay=0.01, betas=(MOST_MOMENTUM, 0.999))
    return functools.partial(AdamW, lr=1e-5, weight_decay=0.01)


def warn_of_momentum(optimizer: Optimizer, goals: Goals) -> None:
    """Warn if a goal would be overshot because steps follow gradients of the past."""
    momentum = max(momentum_of(group) for group in optimizer.param_groups)
    if goals and momentum > MOST_MOMENTUM:
        rank_zero_warn(
            f"{type(optimizer).__name__} has a momentum of {momentum}, so that a goal takes effect about "
            f"{1 / (1 - momentum):.0f} steps after it is reached. With goals, use at most {MOST_MOMENTUM}, for "
            "instance AdamW(..., betas=(0.5, 0.999))."
        )


def momentum_of(group: dict) -> float:
    """The decay of the average of gradients: beta1 of Adam and its kin, momentum of SGD; 0 without one."""
    betas = group.get("betas") or (group.get("beta1") or 0.0,)
    return float(group.get("momentum") or betas[0] or 0.0)
