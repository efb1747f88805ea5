"""Clusters of rows that are nearest to the anchors."""

from unlearn_pl.data.selection.distances import centers_of, k_means, nearest
from unlearn_pl.data.selection.pool import Pool
from unlearn_pl.data.selection.selector import Ranking, Selector
from unlearn_pl.data.selection.votes import by_votes


class FeatureMapping(Selector):
    """Keeps the clusters that most anchors are nearest to: FM of DP4TL.

    Every anchor ``a`` votes for the cluster ``argmin_c ||a - mean(features of c)||_2``. Clusters are kept from the one
    with most votes on, whole, until ``keep`` of the rows are reached; of the last one, the rows nearest to an anchor.

    Nearest clusters alone leave out whatever lies far from the anchors: as a retain set they protect the neighbors of
    the forget set and lose the rest. :class:`SelectedSource` mixes random rows in (``mix``), and reports the coverage.

    Args:
        keep: share of the rows that are kept, above 0 and at most 1.
        clusters: number of clusters, by k-means; None for about the root of the number of rows, at most 100.
        label: a column of the rows whose values are the clusters; instead of k-means.
        fewest: keep the clusters with the fewest votes instead.
        seed: seed of k-means.

    Raises:
        ValueError: if an argument is out of its range; from :meth:`select`, if there are fewer rows than clusters.

    References:
        Zhang et al., Selectivity Drives Productivity: Efficient Dataset Pruning for Enhanced Transfer Learning, 2023,
        arXiv 2310.08782, section 4. We follow the formula: the authors' ``fm_selection`` compares the number of the
        sample with that of the class; and they read clusters from a file. Classes are kept whole there; the exact
        number of rows is ours.
    """

    uses_features = uses_anchors = True

    def __init__(
        self,
        keep: float,
        clusters: int | None = None,
        label: str | None = None,
        fewest: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(keep)
        if clusters is not None and clusters < 1:
            raise ValueError(f"clusters={clusters} must be at least 1.")
        if clusters is not None and label is not None:
            raise ValueError(f"clusters={clusters} and label={label!r} are two kinds of clusters; accepted is one.")
        self.clusters = clusters
        self.label = label
        self.fewest = fewest
        self.seed = seed

    def rank(self, pool: Pool) -> Ranking:
        """The rows by the votes of their clusters."""
        groups = k_means(pool.features, self.clusters, self.seed) if self.label is None else pool.groups(self.label)
        choices = nearest(pool.anchors, centers_of(pool.features, groups)).other
        return by_votes(pool, groups, choices, self.fewest)
