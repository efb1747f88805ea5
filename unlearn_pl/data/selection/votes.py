"""Votes of anchors for groups of rows, and the order of rows that they imply."""

import torch
from torch import Tensor

from unlearn_pl.data.selection.distances import centers_of, nearest
from unlearn_pl.data.selection.pool import Pool
from unlearn_pl.data.selection.selector import Ranking


def by_votes(pool: Pool, groups: Tensor, choices: Tensor, fewest: bool) -> Ranking:
    """The rows by the votes of their groups, whole groups one after another.

    Groups with as many votes come in the order of the distance from their center to the nearest anchor; the rows of a
    group in that of their own distance. So the last group, of which only a part may be kept, gives its nearest rows.

    Args:
        pool: features and anchors.
        groups: ``[N]`` the group of each row, numbered without gaps.
        choices: ``[M]`` the group that each anchor votes for.
        fewest: the opposite order.
    """
    centers = centers_of(pool.features, groups)
    votes = choices.bincount(minlength=len(centers))
    far = nearest(centers, pool.anchors).distance
    distance = nearest(pool.features, pool.anchors).distance
    order = sorted(range(len(votes)), key=lambda group: (-int(votes[group]), float(far[group]), group))
    place = torch.empty(len(order), dtype=torch.long)
    place[torch.tensor(order)] = torch.arange(len(order))
    by_distance = torch.argsort(distance, stable=True)
    rows = by_distance[torch.argsort(place[groups[by_distance]], stable=True)]
    return Ranking(rows.flip(0) if fewest else rows, groups, votes)
