"""The bytes that two ranks exchange are those of the formulas in benchmarks/README.md, to the last one."""

import pytest

from benchmarks.communication import RUNS, measured, predicted


@pytest.mark.slow
@pytest.mark.parametrize("run", [run for run in RUNS if run[2] > 1], ids=str)
def test_bytes_of_a_step_are_the_predicted_ones(run):
    assert measured(*run)["bytes"] == predicted(*run)


def test_one_rank_is_predicted_to_send_nothing():
    assert predicted("MinNorm", "auto", 1) == {}
