"""One process, 2 ranks under DDP and 2 ranks under FSDP2 do the same thing."""

import pytest
import torch

from tests.distributed import cases

pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module")
def alone():
    return {preset: cases.train(preset, "auto", 1, 8) for preset in cases.PRESETS}


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
@pytest.mark.parametrize("preset", ["MOLLM", "GradDiff"])
def test_two_ranks_with_two_micro_batches_equal_one_big_batch(pool, alone, preset, strategy):
    ranks = pool.run(cases.train, preset, strategy, 2, 2)
    expected = alone[preset]
    for result in ranks:
        assert bool(result["sharded"]) == (strategy == "fsdp2")
        assert len(result["gramians"]) == len(expected["gramians"])
        for mine, theirs in zip(result["gramians"][1:], expected["gramians"][1:], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-9)
        for mine, theirs in zip(result["weights"], expected["weights"], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(result["losses"], expected["losses"], rtol=1e-5, atol=1e-8)
        for name, value in expected["state"].items():
            if name in result["state"]:
                torch.testing.assert_close(result["state"][name], value, rtol=1e-4, atol=1e-6)
    for mine, theirs in zip(ranks[0]["weights"], ranks[1]["weights"], strict=True):
        assert torch.equal(mine, theirs)


def test_gradients_that_are_views_of_buckets_are_copied(pool, alone):
    ranks = pool.run(cases.train_with_bucket_views)
    for name, value in alone["MOLLM"]["state"].items():
        torch.testing.assert_close(ranks[0]["state"][name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
@pytest.mark.parametrize(
    ("on_nonfinite", "combiner"), [("skip", "MinNorm"), ("drop", "MinNorm"), ("skip", "Scalarization")]
)
def test_nan_on_one_rank_reaches_no_optimizer(pool, strategy, on_nonfinite, combiner):
    ranks = pool.run(cases.train_with_nan, strategy, on_nonfinite, combiner)
    assert all(rank["finite"] and rank["skipped"]["nonfinite"] == 1 for rank in ranks)
    if ranks[1]["state"]:
        for name, value in ranks[0]["state"].items():
            assert torch.equal(value, ranks[1]["state"][name])


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_resume_equals_an_uninterrupted_run(pool, strategy, tmp_path):
    whole, _ = pool.run(cases.fit_and_save, strategy, str(tmp_path / "whole"), 4, False)[0]
    pool.run(cases.fit_and_save, strategy, str(tmp_path / "parts"), 2, False)
    parts, closed = pool.run(cases.fit_and_save, strategy, str(tmp_path / "parts"), 4, True)[0]
    assert closed == 8
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-6, atol=1e-8)


def test_every_step_sees_the_same_examples_on_any_number_of_ranks(pool):
    one = cases.seen_indices(1, 4)
    two = pool.run(cases.seen_indices, 2, 2)
    assert [sorted(a + b) for a, b in zip(*two, strict=True)] == [sorted(step) for step in one]
    assert sorted(one[0] + one[1]) == list(range(16))
