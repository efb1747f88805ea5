"""Bootstrap confidence intervals."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def bootstrap_interval(
    statistic: Callable[..., float],
    *samples: Tensor | Sequence[float],
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap: the middle ``level`` of ``statistic`` over samples redrawn with replacement.

    Every sample is redrawn separately and keeps its size, so that an AUC keeps its numbers of members and non-members.

    Args:
        statistic: function of one fp64 tensor ``[n_i]`` per sample that returns a number, such as
            :func:`~unlearn_pl.functional.auc`.
        samples: values per example, each ``[n_i]``.
        level: nominal coverage of the interval, between 0 and 1.
        resamples: number of draws.
        seed: random seed of the draws; the interval is the same on every machine.

    Returns:
        Lower and upper end; NaN if the statistic is NaN for a draw.

    Raises:
        ValueError: if there are no samples, one is empty, or ``level`` or ``resamples`` are out of range.

    Example:
        >>> bootstrap_interval(lambda sample: sample.mean().item(), [2.0, 2.0, 2.0])
        (2.0, 2.0)

    References:
        Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    values = [torch.as_tensor(sample, dtype=torch.float64).cpu() for sample in samples]
    if not values or any(len(sample) == 0 for sample in values):
        raise ValueError(f"A bootstrap needs samples with values; got sizes {[len(sample) for sample in values]}.")
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"level must be between 0 and 1 and resamples at least 1; got {level} and {resamples}.")
    generator = torch.Generator().manual_seed(seed)

    def drawn(sample: Tensor) -> Tensor:
        return sample[torch.randint(len(sample), (len(sample),), generator=generator)]

    statistics = torch.tensor([statistic(*map(drawn, values)) for _ in range(resamples)], dtype=torch.float64)
    low, high = statistics.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)).tolist()
    return low, high
