"""Uniformly random scores: the baseline for every attribution method."""

from typing import Unpack

import torch
from torch import Tensor

from unlearn_pl.attribution.base import Attribution, AttributionOptions
from unlearn_pl.attribution.measured import Measured
from unlearn_pl.data.sampling import stable_hash
from unlearn_pl.gradients import local
from unlearn_pl.masks import placed_like


class Random(Attribution):
    """``S`` uniform in [0, 1), the same on any number of ranks.

    Args:
        keep: share of the weights that stay trainable, in (0, 1].
        seed: random seed of the scores.
        options: see :class:`AttributionOptions`.
    """

    def __init__(self, keep: float, seed: int = 0, **options: Unpack[AttributionOptions]) -> None:
        super().__init__(keep, **options)
        self.seed = seed

    def score(self, parameter: Measured) -> Tensor:
        """A number per element, ``[...]``; each parameter has its own generator."""
        generator = torch.Generator().manual_seed(stable_hash(self.seed, parameter.name))
        whole = torch.rand(parameter.parameter.shape, generator=generator)
        return local(placed_like(whole, parameter.parameter))
