"""The random order: all tests, file by file, and the same for the same seed."""

from types import SimpleNamespace

from tests.random_order import shuffle

NAMES = [f"tests/test_{file}.py::test_{number}[{file}::x]" for file in "abcdef" for number in range(5)]


def order(seed: int) -> list[str]:
    items = [SimpleNamespace(nodeid=name) for name in NAMES]
    shuffle(items, seed)
    return [item.nodeid for item in items]


def test_every_test_is_run_once_and_files_stay_together():
    found = order(1)
    assert sorted(found) == NAMES
    files = [name.split("::")[0] for name in found]
    assert len([file for file, before in zip(files, ["", *files], strict=False) if file != before]) == 6


def test_the_order_depends_on_the_seed_alone():
    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(5)}) == 5
    assert [name for name in order(1) if "_a.py" in name] != [name for name in NAMES if "_a.py" in name]
