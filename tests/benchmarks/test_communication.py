"""The bytes that two ranks exchange are those of the formulas in benchmarks/README.md, to the last one."""

import pytest

from benchmarks.communication import measured, predicted


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
@pytest.mark.parametrize("combiner", ["MinNorm", "Scalarization"])
def test_bytes_of_a_step_are_the_predicted_ones(combiner, strategy):
    assert measured(combiner, strategy, 2) == predicted(combiner, strategy, 2)


def test_one_rank_is_predicted_to_send_nothing():
    assert predicted("MinNorm", "auto", 1) == {}
