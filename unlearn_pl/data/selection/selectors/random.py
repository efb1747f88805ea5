"""A random share of the rows."""

import torch

from unlearn_pl.data.selection.pool import Pool
from unlearn_pl.data.selection.selector import Ranking, Selector


class Random(Selector):
    """Rows drawn without replacement, each with the same probability: what every other selector has to be compared to.

    Args:
        keep: share of the rows that are kept, above 0 and at most 1.
        seed: seed of the draw.

    References:
        Pal et al., LLM Unlearning Reveals a Stronger-Than-Expected Coreset Effect in Current Benchmarks, arXiv
        2504.10185: random forget rows do about as well as chosen ones.
    """

    def __init__(self, keep: float, seed: int = 0) -> None:
        super().__init__(keep)
        self.seed = seed

    def rank(self, pool: Pool) -> Ranking:
        """A random permutation."""
        return Ranking(torch.randperm(pool.size, generator=torch.Generator().manual_seed(self.seed)))
