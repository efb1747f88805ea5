"""Losses: what to forget and what to keep, each always minimised, one file per loss."""

from unlearn_pl.objectives.base import Objective
from unlearn_pl.objectives.causal_lm_loss import CausalLMLoss
from unlearn_pl.objectives.gradient_ascent_loss import GradientAscentLoss
from unlearn_pl.objectives.kl_divergence_loss import KLDivergenceLoss
from unlearn_pl.objectives.unlearning_cross_entropy_loss import UnlearningCrossEntropyLoss

__all__ = [
    "CausalLMLoss",
    "GradientAscentLoss",
    "KLDivergenceLoss",
    "Objective",
    "UnlearningCrossEntropyLoss",
]
