"""Planted clusters: are they found exactly, and do the votes equal a hand count?"""

import torch

from unlearn_pl.data import FeatureMapping, Pool

CLUSTERS, ROWS, WIDTH, APART = 6, 50, 16, 30.0


def planted(seed: int) -> dict[str, float]:
    """Share of the rows in their planted cluster, and of the clusters with the votes that were planted.

    Six Gaussian clusters of 50 rows each, ``APART`` standard deviations between their centers; ``c`` anchors near the
    center of cluster ``c``.
    """
    random = torch.Generator().manual_seed(seed)
    centers = torch.randn(CLUSTERS, WIDTH, generator=random)
    centers = centers / torch.pdist(centers).min() * APART
    cluster = torch.arange(CLUSTERS).repeat(ROWS)[torch.randperm(CLUSTERS * ROWS, generator=random)]
    votes = torch.arange(CLUSTERS).repeat_interleave(torch.arange(CLUSTERS))
    rows, anchors = (centers[of] + torch.randn(len(of), WIDTH, generator=random) for of in (cluster, votes))
    ranking = FeatureMapping(0.5, clusters=CLUSTERS, seed=seed).rank(Pool(len(rows), rows, anchors))
    assert ranking.groups is not None
    assert ranking.votes is not None
    right_rows = right_votes = 0
    for c in range(CLUSTERS):
        found = ranking.groups[cluster == c]
        group = int(found.mode().values)
        right_rows += int(((found == group).sum() == ROWS and (ranking.groups == group).sum() == ROWS) * ROWS)
        right_votes += int(ranking.votes[group] == c)
    return {"rows": right_rows / len(rows), "votes": right_votes / CLUSTERS}
