"""Every objective that the package exports descends on 2 ranks as on one process, beside another under MinNorm."""

import pytest
import torch

from tests import kit
from tests.distributed import objectives_cases as cases
from unlearn_pl.models import full_state_dict

pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module")
def trained(pool):
    """Weights by objective: of one process, and of the first of two ranks."""
    return cases.train_all("auto", 1, 4), pool.run(cases.train_all, "ddp", 2, 1)[0]


@pytest.mark.parametrize("name", cases.CLASSES)
def test_two_ranks_equal_one(trained, name):
    alone, ranks = trained
    start = full_state_dict(kit.model())
    moved = [parameter for parameter, value in alone[name].items() if not torch.equal(value, start[parameter])]
    assert moved
    for parameter, value in alone[name].items():
        torch.testing.assert_close(ranks[name][parameter], value, rtol=1e-3, atol=1e-5)
