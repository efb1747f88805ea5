"""How tests are divided among workers."""

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("xdist")

from tests.parallel import FIRST, RANKS, FileByFile, slowest_first

ROOT = Path(__file__).parents[1]


def test_a_file_goes_to_one_worker_and_the_ranks_to_one_of_them():
    scope_of = FileByFile.__new__(FileByFile)._split_scope  # without workers
    assert scope_of("tests/combiners/test_blur.py::test_two[a::b]") == "tests/combiners/test_blur.py"
    assert scope_of("tests/distributed/test_kill.py::test_it") == scope_of("tests/distributed/test_engine.py::x")


def test_the_slowest_come_first_in_their_order():
    def items(*names):
        return [SimpleNamespace(nodeid=name) for name in names]

    given = items("tests/a.py::x", f"{FIRST[1]}::y", "tests/b.py::z", f"{RANKS}test_c.py::u", f"{RANKS}test_a.py::v")
    slowest_first(given)
    assert [item.nodeid[-1] for item in given] == ["u", "v", "y", "x", "z"]


def test_the_slowest_are_still_where_they_were():
    assert all((ROOT / path).exists() for path in FIRST)
