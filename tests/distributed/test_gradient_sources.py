"""Directions of the tokens of all ranks, and projected steps: 2 ranks step as one process does, whole or sharded."""

import pytest
import torch

from tests.distributed import gradient_source_cases as cases

pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module")
def alone():
    return cases.train("auto", 1, 8)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_ranks_equal_one(alone, pool, strategy):
    for name, value in pool.run(cases.train, strategy, 2, 2)[0].items():
        torch.testing.assert_close(value, alone[name], rtol=1e-4, atol=1e-6)


def test_the_projection_changes_the_step(alone):
    plain = cases.train("auto", 1, 8, collapse=False)
    moved = {name for name, value in alone.items() if (value - plain[name]).abs().max() > 1e-4}
    assert {f"model.layers.{n}.mlp.{part}_proj.weight" for n in range(2) for part in ("gate", "up", "down")} <= moved


@pytest.mark.parametrize(("strategy", "metric"), [("ddp", "adam"), ("fsdp2", "adam"), ("fsdp2", "euclidean")])
def test_projected_steps_of_two_ranks_equal_those_of_one_and_resume(pool, tmp_path, strategy, metric):
    weights, rows = cases.project("auto", 1, 8, str(tmp_path / "alone"), metric)
    found, remembered = pool.run(cases.project, strategy, 2, 2, str(tmp_path / "ranks"), metric)[0]
    resumed, _ = pool.run(
        cases.project,
        strategy,
        2,
        2,
        str(tmp_path / "again"),
        metric,
        ckpt_path=str(tmp_path / "ranks" / "step=2.ckpt"),
    )[0]
    for name, value in weights.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=2e-5)
        assert torch.equal(resumed[name], found[name])
    for row, other in zip(rows, remembered, strict=True):
        for gradient, same in zip(row, other, strict=True):
            torch.testing.assert_close(same, gradient, rtol=1e-3, atol=1e-5)
