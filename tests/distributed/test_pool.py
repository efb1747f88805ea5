"""The pool of ranks tells at once that a rank is gone."""

import queue
from types import SimpleNamespace

import pytest

from tests.distributed.pool import RankPool


def pool(alive):
    """A pool of two ranks, of which the first has answered."""
    ranks = RankPool.__new__(RankPool)
    ranks._tasks = [queue.Queue(), queue.Queue()]
    ranks._results = [queue.Queue(), queue.Queue()]
    ranks._results[0].put((False, "fine"))
    ranks._processes = [SimpleNamespace(is_alive=lambda: True, exitcode=None)] * 2
    if not alive:
        ranks._processes[1] = SimpleNamespace(is_alive=lambda: False, exitcode=-9)
    return ranks


def test_a_rank_that_has_ended_is_an_error_at_once():
    with pytest.raises(AssertionError, match=r"exit codes \{1: -9\}"):
        pool(alive=False).run(len)


def test_a_rank_that_does_not_answer_is_an_error_in_the_end(monkeypatch):
    monkeypatch.setattr("tests.distributed.pool.TIMEOUT_S", 0.5)
    with pytest.raises(AssertionError, match="rank 1 has not answered"):
        pool(alive=True).run(len)
