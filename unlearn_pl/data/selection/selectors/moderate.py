"""Rows in the middle of their cluster's distances."""

import torch
from torch import Tensor

from unlearn_pl.data.selection.distances import centers_of, k_means
from unlearn_pl.data.selection.pool import Pool
from unlearn_pl.data.selection.selector import Ranking, Selector


class Moderate(Selector):
    """Keeps the rows whose distance to the center of their cluster is in the middle: neither typical nor outliers.

    ``d_i = ||features_i - mean(features of the cluster)||_2``. With ``r_i`` the rank of ``d_i`` among the ``n`` rows of
    the cluster, from 0, a row's score is ``|2 (r_i + 1/2) / n - 1|``, and the lowest are kept: the same share of every
    cluster, the middle ``keep`` of its distances.

    Args:
        keep: share of the rows that are kept, above 0 and at most 1.
        clusters: number of clusters, by k-means; 1 takes all rows as one.
        label: a column of the rows whose values are the clusters; instead of k-means.
        seed: seed of k-means.

    Raises:
        ValueError: if an argument is out of its range.

    References:
        Xia et al., Moderate Coreset: A Universal Method of Data Selection for Real-world Data-efficient Deep Learning,
        ICLR 2023. The authors take the rows whose distance is closest to the median of the class; by rank it is the
        same share on either side of it.
    """

    uses_features = True

    def __init__(self, keep: float, clusters: int = 1, label: str | None = None, seed: int = 0) -> None:
        super().__init__(keep)
        if clusters < 1:
            raise ValueError(f"clusters={clusters} must be at least 1.")
        if clusters > 1 and label is not None:
            raise ValueError(f"clusters={clusters} and label={label!r} are two kinds of clusters; accepted is one.")
        self.clusters = clusters
        self.label = label
        self.seed = seed

    def rank(self, pool: Pool) -> Ranking:
        """The rows from the middle of their cluster to its ends."""
        groups = self._groups(pool)
        distance = (pool.features.double() - centers_of(pool.features, groups)[groups]).norm(dim=-1)
        off = torch.empty(pool.size, dtype=torch.float64)
        for group in groups.unique():
            members = (groups == group).nonzero().flatten()
            rank = torch.argsort(torch.argsort(distance[members], stable=True))
            off[members] = (2 * (rank + 0.5) / len(members) - 1).abs().double()
        return Ranking(torch.argsort(off, stable=True), groups)

    def _groups(self, pool: Pool) -> Tensor:
        if self.label is not None:
            return pool.groups(self.label)
        if self.clusters == 1:
            return torch.zeros(pool.size, dtype=torch.long)
        return k_means(pool.features, self.clusters, self.seed)
