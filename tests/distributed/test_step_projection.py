"""Projected steps of 2 ranks equal those of one process, whole or sharded, and go on after a checkpoint."""

import pytest
import torch

from tests.distributed import projection_cases as cases

pytestmark = pytest.mark.distributed


@pytest.mark.parametrize(("strategy", "metric"), [("ddp", "euclidean"), ("fsdp2", "adam")])
def test_two_ranks_equal_one_and_resume(pool, tmp_path, strategy, metric):
    weights, rows = cases.project("auto", 1, 8, metric)
    path = str(tmp_path / "stopped.ckpt")
    found, remembered = pool.run(cases.project, strategy, 2, 2, metric, path)[0]
    resumed, _ = pool.run(cases.project, strategy, 2, 2, metric, None, path)[0]
    for name, value in weights.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=2e-5)
        assert torch.equal(resumed[name], found[name])
    for row, other in zip(rows, remembered, strict=True):
        for gradient, same in zip(row, other, strict=True):
            torch.testing.assert_close(same, gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_ranks_halve_the_same_steps_as_one(pool, strategy):
    weights, shares = cases.halve("auto", 1, 8)
    found, of_ranks = zip(*pool.run(cases.halve, strategy, 2, 2), strict=True)
    assert of_ranks == (shares, shares)
    assert min(shares) < 1
    for name, value in weights.items():
        torch.testing.assert_close(found[0][name], value, rtol=1e-3, atol=1e-4)
