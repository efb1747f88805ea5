"""Distances between embeddings, and clusters of them."""

from typing import NamedTuple

import torch
from torch import Tensor

_ROWS = 4096
"""Rows whose distances are in memory at the same time."""


class Nearest(NamedTuple):
    """The nearest of M points, for each of N.

    Attributes:
        distance: ``[N]`` Euclidean.
        other: ``[N]`` its number, the smallest of equals.
    """

    distance: Tensor
    other: Tensor


def nearest(points: Tensor, others: Tensor) -> Nearest:
    """The nearest of ``others [M, D]`` to each of ``points [N, D]``, in fp64."""
    parts = [torch.cdist(part.double(), others.double()).min(dim=-1) for part in points.split(_ROWS)]
    return Nearest(torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts]))


def centers_of(features: Tensor, groups: Tensor) -> Tensor:
    """Mean of the ``features [N, D]`` of each of C ``groups [N]``: ``[C, D]`` fp64."""
    count = groups.bincount().double()
    sums = torch.zeros(len(count), features.shape[-1], dtype=torch.float64).index_add_(0, groups, features.double())
    return sums / count.unsqueeze(-1)


def default_clusters(size: int) -> int:
    """Number of clusters of ``size`` rows if none is given: about the root, at most 100."""
    return max(1, min(100, round(size**0.5)))


def k_means(features: Tensor, clusters: int | None, seed: int) -> Tensor:
    """The cluster of each row by k-means, ``[N]``; numbered without gaps.

    Args:
        features: ``[N, D]``.
        clusters: number of clusters; None for about the root of N, at most 100.
        seed: seed of the initial centers.

    Raises:
        ValueError: if there are more clusters than rows that differ, or scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import KMeans
    except ImportError as error:
        raise ValueError("Clusters need scikit-learn: pip install 'unlearn_pl[selection]'.") from error
    distinct = len(features.unique(dim=0))
    if clusters is not None and clusters > distinct:
        raise ValueError(f"clusters={clusters} is more than the {distinct} rows with different embeddings.")
    number = min(clusters or default_clusters(len(features)), distinct)
    found = KMeans(number, n_init=4, random_state=seed).fit_predict(features.double().numpy())
    return torch.from_numpy(found).long().unique(return_inverse=True)[1]
