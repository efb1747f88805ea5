"""Projection of the mean gradient on the directions that increase no objective (DualProj, GEM)."""

from typing import Unpack

import torch
from torch import Tensor

from unlearn_pl.combiners.gramian_combiner import GramianCombiner
from unlearn_pl.combiners.options import CombinerOptions
from unlearn_pl.functional import dual_cone_projection


class DualProj(GramianCombiner):
    """``argmin_d |d - mean_k g_k|^2`` subject to ``g_k . d >= 0`` for all k: the quadratic program of GEM.

    The step increases no active objective; it is the mean of the gradients if that increases none.

    Args:
        options: see :class:`CombinerOptions`.

    References:
        Lopez-Paz & Ranzato, Gradient episodic memory for continual learning, NeurIPS 2017, arXiv 1706.08840,
        section 3. GEM projects the gradient of the task at hand; the mean of all gradients is projected here.
    """

    def __init__(self, **options: Unpack[CombinerOptions]) -> None:
        super().__init__(**options)

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights ``[K]`` of the projected mean."""
        return dual_cone_projection(gramian, torch.full_like(losses, 1 / len(losses)))
