"""Weights of tokens change the step, and neither micro-batches nor ranks change what they do."""

import pytest
import torch

from tests.distributed import weights_cases as cases

pytestmark = pytest.mark.distributed


def assert_same(trained, expected, **tolerance):
    torch.testing.assert_close(trained[1], expected[1], **({"rtol": 1e-5, "atol": 1e-7} | tolerance))
    for name, value in expected[0].items():
        torch.testing.assert_close(trained[0][name], value, **({"rtol": 1e-4, "atol": 1e-6} | tolerance))


@pytest.fixture(scope="module")
def whole():
    return cases.train("auto", 1, 8)


def test_micro_batches_and_a_common_factor_change_nothing(whole):
    assert_same(cases.train("auto", 1, 2, scale=0.01), whole)


def test_weights_change_the_step(whole):
    without = cases.train("auto", 1, 8, scale=None)
    assert abs(without[1][0] - whole[1][0]) > 3e-4  # the model is random: all its tokens have about the same loss
    assert any((value - whole[0][name]).abs().max() > 1e-5 for name, value in without[0].items())


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_ranks_equal_one(whole, pool, strategy):
    assert_same(pool.run(cases.train, strategy, 2, 2)[0], whole)


def test_an_objective_on_whole_answers_says_that_it_reads_no_weights():
    with pytest.raises(ValueError, match=r"stream 'forget' have weights, but objective 'forget', NPOLoss, takes no"):
        cases.train_npo()
