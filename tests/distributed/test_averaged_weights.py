"""Callbacks that keep weights of their own resume with them, sharded or not."""

import pytest
import torch

from tests.distributed import averaged_cases as cases

pytestmark = pytest.mark.distributed


@pytest.mark.parametrize("name", list(cases.CALLBACKS))
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_ranks_resume_to_the_weights_of_one_uninterrupted_process(pool, tmp_path, name, strategy):
    alone = cases.trained(name, "auto", 1)
    path = str(tmp_path / "step.ckpt")
    whole = pool.run(cases.trained, name, strategy, 2, path)[0]
    resumed = pool.run(cases.trained, name, strategy, 2, None, path)[0]
    for key, value in alone.items():
        torch.testing.assert_close(whole[key], value, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(resumed[key], whole[key], rtol=0, atol=0)
