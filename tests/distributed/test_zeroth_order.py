"""Two ranks take the steps of one process, and send a few numbers."""

import functools

import pytest
import torch

from tests import kit
from tests.distributed import zeroth_order_cases as cases

pytestmark = pytest.mark.distributed

K = 2


@functools.cache
def alone(source, masked=False):
    return cases.train(source, "auto", 1, 8, masked=masked)["state"]


@pytest.mark.parametrize(("source", "count"), [("directions", 4), ("coordinates", 6)])
def test_ranks_send_slopes_alone_and_take_the_same_steps(pool, source, count):
    first, second = pool.run(cases.train, source, "ddp", 2, 2)
    for name, value in alone(source).items():
        torch.testing.assert_close(first["state"][name], value, rtol=0, atol=1e-6)
        assert torch.equal(first["state"][name], second["state"][name])
    # One collective per step: 2 counts of the data, 3 readings and the slopes of each objective.
    assert first["sent"] == [[("all_reduce", K * (5 + count))]] * 5


def test_scores_are_those_of_the_data_of_all_ranks(pool):
    first, second = pool.run(cases.train, "scores", "ddp", 2, 2)
    for name, value in alone("scores").items():
        torch.testing.assert_close(first["state"][name], value, rtol=0, atol=1e-6)
        assert torch.equal(first["state"][name], second["state"][name])
    # Before the first step: the counts, and the slopes of the sum of the losses at two points.
    assert (
        first["sent"]
        == [[("all_reduce", n) for n in (2 * K, 4, 4)] + [("all_reduce", K * 11)]] + [[("all_reduce", K * 11)]] * 4
    )
    for reason in pool.run(cases.refused):
        assert "parameters are sharded (FSDP2). Accepted with it: RandomCoordinates()" in reason


def test_coordinates_are_the_same_whoever_holds_them(pool):
    for masked in (False, True):
        first, _ = pool.run(cases.train, "coordinates", "fsdp2", 2, 2, 0.02, masked)
        assert first["sharded"]
        for name, value in alone("coordinates", masked).items():
            torch.testing.assert_close(first["state"][name], value, rtol=0, atol=1e-6)


def test_shards_have_directions_of_their_own_and_come_back(pool):
    start = dict(kit.model(dtype=torch.float64).named_parameters())
    for lr in (0.0, 0.02):
        first, _ = pool.run(cases.train, "directions", "fsdp2", 2, 2, lr)
        assert first["sharded"]
        moved = [not torch.equal(first["state"][name], value) for name, value in start.items()]
        assert any(moved) == (lr > 0)
        assert all(value.isfinite().all() for value in first["state"].values())
