"""Ranks agree on the views that leak most, and share the work of scoring them."""

import pytest
import torch

from tests.distributed import views_cases as cases

pytestmark = pytest.mark.distributed


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_ranks_choose_as_one(pool, strategy):
    choices, weights, scored = cases.trained()
    assert scored == 2 * 3  # two rounds of twelve views in batches of five
    for of_rank, after, shared in pool.run(cases.trained, strategy, 2):
        assert of_rank == choices
        assert shared == 2 * 2
        for name, value in after.items():
            torch.testing.assert_close(value, weights[name], rtol=1e-6, atol=1e-9)


def test_two_ranks_contrast_as_one(pool):
    alone = cases.contrasted()
    for of_rank in pool.run(cases.contrasted, "ddp", 2):
        for name, value in of_rank.items():
            torch.testing.assert_close(value, alone[name], rtol=1e-6, atol=1e-9)
