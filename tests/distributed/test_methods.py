"""Methods whose objectives or rules are special do on 2 ranks what they do on one."""

import functools

import pytest
import torch

from tests.distributed import methods_cases as cases

pytestmark = pytest.mark.distributed


@functools.cache
def alone(preset, combiner):
    return cases.train(preset, combiner, "auto", 1, 4)


# Under FSDP2, GradDrop draws other numbers for every shard: there is no single process to compare it with.
# Under DDP, test_objectives.py has every objective beside another one under MinNorm.
RUNS = [
    (*case, strategy)
    for case in cases.CASES
    for strategy in ("ddp", "fsdp2")
    if (case[1], strategy) not in (("GradDrop", "fsdp2"), ("MinNorm", "ddp"))
]


@pytest.mark.parametrize(("preset", "combiner", "strategy"), RUNS)
def test_two_ranks_equal_one(pool, preset, combiner, strategy):
    first, second = pool.run(cases.train, preset, combiner, strategy, 2, 1)
    expected = alone(preset, combiner)
    assert first["closed"] == second["closed"] == expected["closed"] == 3
    assert first["multiplier"] == second["multiplier"] == pytest.approx(expected["multiplier"], rel=1e-5)
    for name, value in expected["state"].items():
        torch.testing.assert_close(first["state"][name], value, rtol=1e-3, atol=1e-5)
