"""The bias-corrected average against its closed form."""

import numpy as np
import pytest
import torch

from unlearn_pl.functional.moving_average import MovingAverage


def test_average_equals_the_weighted_mean_of_what_each_entry_saw():
    rng = np.random.default_rng(0)
    values, seen = rng.standard_normal((12, 3)), rng.random((12, 3)) < 0.6
    average = MovingAverage(0.8)
    for step in range(12):
        result = average.update(torch.from_numpy(values[step]), torch.from_numpy(seen[step]))
    for k in range(3):
        mine = values[seen[:, k], k]
        weights = 0.8 ** np.arange(len(mine))[::-1]
        assert result[k].item() == pytest.approx((weights * mine).sum() / weights.sum())


def test_unseen_values_are_ignored_even_if_nan():
    average = MovingAverage(0.5)
    never = average.update(torch.tensor([torch.nan, 2.0]), torch.tensor([False, True]))
    assert never[0].isnan()
    assert average.update(torch.tensor([3.0, torch.nan]), torch.tensor([True, False])).tolist() == [3.0, 2.0]


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_decay_is_checked(decay):
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        MovingAverage(decay)
