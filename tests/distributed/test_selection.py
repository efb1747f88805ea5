"""All ranks see the rows that rank 0 has selected."""

import pytest

from tests.distributed.selection_cases import failure, selected

pytestmark = pytest.mark.distributed


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_ranks_have_the_same_rows_and_a_second_run_does_not_choose(pool, tmp_path, strategy):
    (first, chosen), (other, chosen_there) = pool.run(selected, strategy, str(tmp_path))
    assert first == other
    assert len(first) == 12
    assert (chosen, chosen_there) == (1, 0)
    (again, chosen), (other_again, chosen_there) = pool.run(selected, strategy, str(tmp_path))
    assert again == other_again == first
    assert (chosen, chosen_there) == (0, 0)


def test_errors_of_rank_0_are_raised_on_every_rank(pool, tmp_path):
    for message in pool.run(failure, str(tmp_path)):
        assert "keeps no row of 16" in message
