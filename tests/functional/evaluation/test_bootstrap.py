import math

import numpy as np
import pytest
import torch
from scipy import stats

from unlearn_pl.functional import auc, bootstrap_interval


def mean(sample: torch.Tensor) -> float:
    return sample.mean().item()


def test_it_agrees_with_scipys_percentile_interval():
    sample = torch.randn(60, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 + 1
    found = bootstrap_interval(mean, sample, resamples=4000, level=0.9)
    theirs = stats.bootstrap(
        (sample.numpy(),), np.mean, confidence_level=0.9, n_resamples=4000, method="percentile", random_state=1
    ).confidence_interval
    assert found == pytest.approx((theirs.low, theirs.high), abs=0.04)


def test_all_draws_of_two_values_by_hand():
    """The mean of two draws from {0, 1} is 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4."""
    assert bootstrap_interval(mean, [0.0, 1.0], level=0.95) == (0, 1)
    assert bootstrap_interval(mean, [0.0, 1.0], level=0.3) == (0.5, 0.5)


def test_samples_are_drawn_by_themselves_and_keep_their_sizes():
    def sizes_and_ranges(members: torch.Tensor, others: torch.Tensor) -> float:
        assert (len(members), len(others)) == (3, 5)
        assert members.max() <= 2 < others.min()
        return auc(members, others)

    assert bootstrap_interval(sizes_and_ranges, [0.0, 1.0, 2.0], [3.0, 4.0, 5.0, 6.0, 7.0], resamples=50) == (1, 1)


def test_it_covers_the_true_auc_about_as_often_as_asked():
    generator = torch.Generator().manual_seed(0)
    true = stats.norm.cdf(1 / math.sqrt(2))
    covered = 0
    for _ in range(60):
        members = torch.randn(40, generator=generator, dtype=torch.float64)
        others = torch.randn(40, generator=generator, dtype=torch.float64) + 1
        low, high = bootstrap_interval(auc, members, others, level=0.9, resamples=200)
        covered += low <= true <= high
    assert 45 <= covered <= 60


def test_it_is_deterministic_and_does_not_touch_the_global_generator():
    state = torch.random.get_rng_state()
    first, second = (bootstrap_interval(mean, [1.0, 4.0, 9.0, 2.5]) for _ in range(2))
    assert first == second
    assert first != bootstrap_interval(mean, [1.0, 4.0, 9.0, 2.5], seed=1, resamples=30)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_nan_is_not_dropped():
    assert all(map(math.isnan, bootstrap_interval(mean, [1.0, math.nan])))


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        ([], {}, r"got sizes \[\]"),
        ([[1.0], []], {}, r"got sizes \[1, 0\]"),
        ([[1.0]], {"level": 1.0}, "between 0 and 1"),
        ([[1.0]], {"resamples": 0}, "at least 1; got 0.95 and 0"),
    ],
)
def test_bad_arguments_are_refused(samples, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(mean, *samples, **options)
