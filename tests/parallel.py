"""How pytest-xdist divides the tests among its workers."""

import pytest
from xdist.scheduler import LoadScopeScheduling

RANKS = "tests/distributed/"
FIRST = (RANKS, "tests/test_benchmark_runs.py", "tests/test_notebooks.py", "tests/callbacks/test_audit_trail.py")
"""Where the slowest tests are. They come first, lest one worker still has a long file when the other is done."""


class FileByFile(LoadScopeScheduling):
    """A file goes to one worker as a whole, which shares the fixtures of its module.

    All that runs on the pool of ranks goes to the same worker, so that there is a single pool.
    """

    def __init__(self, config: pytest.Config, log=None) -> None:
        config.option.loadscopereorder = False  # by number of tests; it says little about their time
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.split("::")[0]
        return RANKS if path.startswith(RANKS) else path


def slowest_first(items: list[pytest.Item]) -> None:
    """Sort tests in place by where they are in ``FIRST``."""
    items.sort(key=lambda item: next((n for n, path in enumerate(FIRST) if item.nodeid.startswith(path)), len(FIRST)))
