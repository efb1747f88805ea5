"""Scripts of `benchmarks/` silence Lightning; here only for their own tests."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def lightning_speaks_again() -> Iterator[None]:
    """Restore the level of Lightning's logger."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    yield
    logger.setLevel(level)
