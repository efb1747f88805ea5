"""Tests in a random order, which shows those that depend on what has run before: ``--random-order-seed 1``."""

import random

import pytest

OPTION = "--random-order-seed"


def add_option(parser: pytest.Parser) -> None:
    """Add the option to those of pytest."""
    parser.addoption(OPTION, type=int, metavar="N", help="run files, and the tests of each, in the random order N")


def shuffle(items: list[pytest.Item], seed: int) -> None:
    """Shuffle files, and the tests of each file, in place; a file stays together, for it shares fixtures."""
    order = random.Random(seed)
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.split("::")[0], []).append(item)
    shuffled = list(files.values())
    order.shuffle(shuffled)
    for tests in shuffled:
        order.shuffle(tests)
    items[:] = [item for tests in shuffled for item in tests]
