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
    # The counts of the data, as with every source, and then the readings and slopes.
    assert first["reduced"] == [[2 * K, K * (3 + count)]] * 5


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
