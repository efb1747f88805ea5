"""Blocks, metrics, element-wise rules, perturbed gradients and DualOptim do on 2 ranks what they do on one."""

import functools
import itertools

import pytest
import torch

from tests import kit
from tests.distributed import step_options_cases as cases

pytestmark = pytest.mark.distributed

SCATTERED = [name for name in cases.VARIANTS if name.startswith("scattered")]
EXACT = [name for name in cases.VARIANTS if name not in ("sketch", "smoothing", *SCATTERED)]


@functools.cache
def alone(variant):
    return cases.train(variant, "auto", 1, 8)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
@pytest.mark.parametrize("variant", EXACT)
def test_two_ranks_equal_one(pool, variant, strategy):
    first, second = pool.run(cases.train, variant, strategy, 2, 2)
    assert first["sharded"] == (strategy == "fsdp2")
    assert first["closed"] == second["closed"] == alone(variant)["closed"] == 4
    for name, value in alone(variant)["state"].items():
        torch.testing.assert_close(first["state"][name], value, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("variant", SCATTERED)
def test_rows_that_are_scattered_over_ranks_equal_whole_ones(pool, variant):
    first, second = pool.run(cases.train, variant, "ddp", 2, 2)
    assert first["closed"] == second["closed"] == 4
    for name, value in alone(variant)["state"].items():
        torch.testing.assert_close(first["state"][name], value, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("weights", [[0.5, 2.0], [0.5, 0.0]])
def test_shards_that_waited_elsewhere_come_back(pool, weights):
    expected = weights[0] * torch.arange(1.0, 6) + weights[1]
    for combined in pool.run(cases.combine_with_a_row_that_waited_as_plain_shards, weights):
        torch.testing.assert_close(combined, expected)


def test_shards_cannot_be_scattered(pool):
    with pytest.raises(Exception, match="are sharded already"):
        pool.run(cases.train, "scattered", "fsdp2", 2, 2)


def test_sketches_of_ranks_add_up(pool):
    first, _ = pool.run(cases.train, "sketch", "ddp", 2, 2)
    for name, value in alone("sketch")["state"].items():
        torch.testing.assert_close(first["state"][name], value, rtol=1e-3, atol=2e-5)


def test_sketches_of_shards_have_signs_of_their_own_and_come_to_nearly_the_same(pool):
    first, _ = pool.run(cases.train, "sketch", "fsdp2", 2, 2)
    assert first["sharded"]
    start = dict(kit.model().named_parameters())
    whole = torch.cat(
        [(value - start[name]).flatten() for name, value in alone("sketch")["state"].items() if name in start]
    )
    shards = torch.cat(
        [(first["state"][name] - start[name]).flatten() for name in alone("sketch")["state"] if name in start]
    )
    assert torch.cosine_similarity(whole, shards, dim=0) > 0.99


def test_ranks_of_ddp_agree_on_the_noise(pool):
    first, _ = pool.run(cases.train, "smoothing", "ddp", 2, 2)
    for name, value in alone("smoothing")["state"].items():
        torch.testing.assert_close(first["state"][name], value, rtol=1e-3, atol=2e-5)


def test_shards_have_noise_of_their_own(pool):
    first, _ = pool.run(cases.train, "smoothing", "fsdp2", 2, 2)
    assert first["closed"] == 4
    assert all(value.isfinite().all() for value in first["state"].values())


@pytest.mark.parametrize(
    ("variant", "distributed_checkpoint"),
    [*itertools.product(["dual", "adam"], [True, False]), ("dual_plus", True), ("collapse", False)],
)
def test_moments_of_shards_are_resumed(pool, variant, distributed_checkpoint, tmp_path):
    (whole, parts), _ = pool.run(cases.resume, variant, str(tmp_path), distributed_checkpoint)
    for name, value in whole.items():
        assert torch.equal(parts[name], value)
