"""A subclass of a method lives on 2 ranks as on one: trained, saved, loaded, tested and resumed."""

import pytest
import torch

from tests.distributed import subclass_cases as cases

pytestmark = [
    pytest.mark.distributed,
    # Lightning 2.6 calls jsonargparse by a name that is deprecated.
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
]


def test_ranks_that_watch_different_values_keep_one_learning_rate(pool):
    first, second = pool.run(cases.rates_by_a_local_metric)
    assert first == second < 1.0


@pytest.mark.parametrize("distributed_checkpoint", [True, False])
def test_another_optimizer_is_an_error_before_shards_are_restored(pool, tmp_path, distributed_checkpoint):
    for said in pool.run(cases.resume_with_another_optimizer, str(tmp_path), distributed_checkpoint):
        assert "trained with optimizer 'AdamW', but the run has 'SGD' now" in said


def test_the_documented_subclass_on_two_ranks(pool, tmp_path):
    cases.prepare(tmp_path)
    alone = cases.life("auto", 1, str(tmp_path))
    first, second = pool.run(cases.life, "ddp", 2, str(tmp_path))
    for run in (alone, first, second):
        assert run["objectives"] == ["forget", "normal", "retain", "refuse"]
        assert run["temperature"] == 3.0
        assert run["logged"] == pytest.approx(alone["logged"], rel=1e-3)
        assert run["rate"] == alone["rate"]
    for run in (alone, first):  # the first rank has the whole model
        whole, half, resumed = run["states"]
        assert not torch.equal(whole["lm_head.weight"], half["lm_head.weight"])
        for name, value in half.items():
            assert torch.equal(run["loaded"][name], value)
            assert torch.equal(resumed[name], whole[name])
    for name, value in alone["states"][0].items():
        torch.testing.assert_close(first["states"][0][name], value, rtol=1e-2, atol=2e-3)
