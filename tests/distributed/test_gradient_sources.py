"""Directions of the tokens of all ranks: 2 ranks step as one process does, whole or sharded."""

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
