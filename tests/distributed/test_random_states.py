"""Dropout of every rank goes on in a run that resumes, whatever the form of the checkpoint."""

import pytest
import torch

from tests.distributed.random_cases import STRATEGIES, interrupted

pytestmark = pytest.mark.distributed


@pytest.mark.parametrize(
    ("name", "steps"),
    [("ddp", 2), *((name, 3) for name in STRATEGIES)],  # at the end of an epoch, and in its middle
)
def test_runs_with_dropout_resume_to_the_last_bit(pool, tmp_path, name, steps):
    whole, resumed = pool.run(interrupted, name, str(tmp_path), steps)[0]
    assert whole
    for key, value in whole.items():
        assert torch.equal(resumed[key], value), key
