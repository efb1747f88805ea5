"""Tables of scores per example, and their mean."""

from collections.abc import Mapping

import torch

Scores = Mapping[str, Mapping[int, float]]
"""Name of the score to index of the example to value."""


def mean_score(values: Mapping[int, float]) -> float:
    """Mean over the examples; NaN without examples, or if one value is NaN.

    Args:
        values: index of the example to value.
    """
    return torch.tensor(list(values.values()), dtype=torch.float64).mean().item()
