"""The pool of ranks tells at once that a rank is gone, and goes on with new ones."""

import os
import queue
from types import SimpleNamespace

import pytest

from tests.distributed.pool import RankPool


def test_a_rank_that_has_ended_is_an_error_at_once_and_its_place_is_taken():
    ranks = RankPool()
    try:
        first = ranks.run(os.getpid)
        with pytest.raises(AssertionError, match=r"exit codes \{.*: 7"):
            ranks.run(os._exit, 7)
        assert not set(ranks.run(os.getpid)) & set(first)
    finally:
        ranks.close()


def test_a_rank_that_does_not_answer_is_an_error_in_the_end(monkeypatch):
    monkeypatch.setattr("tests.distributed.pool.TIMEOUT_S", 0.5)
    ranks = RankPool.__new__(RankPool)
    ranks._tasks, ranks._results = [queue.Queue(), queue.Queue()], [queue.Queue(), queue.Queue()]
    ranks._results[0].put((False, "fine"))
    ranks._processes = [SimpleNamespace(is_alive=lambda: True, exitcode=None)] * 2
    with pytest.raises(AssertionError, match="rank 1 has not answered"):
        ranks.run(len)
