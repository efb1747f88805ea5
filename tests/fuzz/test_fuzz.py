"""A hundred mutated inputs for every reader; ``make fuzz`` tries thousands."""

import pytest

from tests.fuzz.readers import readers
from tests.fuzz.trial import EQUAL, ERROR, trials


@pytest.mark.parametrize("name", readers())
def test_only_documented_errors_and_nothing_silent_in_sealed_formats(tmp_path, name):
    reader = readers()[name]
    found = trials(reader, tmp_path, 100, seconds=60)  # a busy machine is slow
    assert not found.failures, "\n".join(found.failures)
    assert found.counts[EQUAL] < 100
    if reader.sealed:
        assert found.counts[EQUAL] + found.counts[ERROR] == 100
