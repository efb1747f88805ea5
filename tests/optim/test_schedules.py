"""Schedules against their closed forms, through PyTorch's own scheduler."""

import math

import pytest
import torch

from unlearn_pl.optim import Constant, Cosine, LinearWarmup


def factors(schedule, steps_per_epoch, total):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = schedule.build(optimizer, steps_per_epoch, total)
    seen = []
    for _ in range(total):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_linear_warmup_of_one_epoch_then_linear_decay():
    expected = [0.25, 0.5, 0.75] + [1 - i / 6 for i in range(6)]
    assert factors(LinearWarmup(1.0), 3, 9) == pytest.approx(expected)


def test_no_step_of_the_linear_schedule_is_wasted():
    for total in range(1, 20):
        assert min(factors(LinearWarmup(1.0), 4, total)) > 0


def test_cosine_is_half_a_cosine():
    expected = [0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * i / 8)) for i in range(8)]
    assert factors(Cosine(final_factor=0.1), 4, 8) == pytest.approx(expected)


def test_constant_warms_up_and_stays():
    assert factors(Constant(0.5), 4, 5) == pytest.approx([1 / 3, 2 / 3, 1, 1, 1])


@pytest.mark.parametrize("schedule", [Constant, Cosine, LinearWarmup])
def test_negative_warmup_is_refused(schedule):
    with pytest.raises(ValueError, match="-1"):
        schedule(warmup_epochs=-1)


@pytest.mark.parametrize("schedule", [Constant, Cosine, LinearWarmup])
def test_a_warmup_may_be_a_share_of_all_steps(schedule):
    assert factors(schedule(warmup_ratio=0.25), 3, 8) == factors(schedule(warmup_epochs=1.0), 2, 8)
    assert factors(schedule(warmup_epochs=7.0, warmup_ratio=0.25), 3, 8) == factors(schedule(warmup_ratio=0.25), 3, 8)
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=f"warmup_ratio.*{wrong}"):
            schedule(warmup_ratio=wrong)
