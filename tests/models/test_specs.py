"""Models of a user's own: every method and every option of the engine runs on them as it does on language models."""

import inspect

import pytest
import torch

from tests import kit
from tests.distributed import spec_cases
from tests.distributed.spec_cases import CASES, trained
from tests.specs import Classifier, Denoiser, Vectors

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")


@pytest.mark.parametrize("spec", [Classifier, Denoiser])
def test_a_specification_takes_few_lines(spec):
    assert len(inspect.getsource(spec).splitlines()) <= 40


def weights_before(name):
    return CASES[name]().spec.build(torch.float64).state_dict()


@pytest.mark.parametrize("name", CASES)
def test_accumulation_changes_nothing_and_training_moves(name):
    whole, parts = trained(name, micro_batch_size=8), trained(name, micro_batch_size=2)
    start = weights_before(name)
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=0, atol=1e-9)
    assert any(not torch.equal(whole[key], start[key]) for key in start)


@pytest.mark.distributed
def test_two_ranks_reach_the_weights_of_one_process(pool):
    ranks = pool.run(spec_cases.all_cases)
    for name in CASES:
        single = trained(name, micro_batch_size=4)
        for states in ranks:
            for key, value in single.items():
                torch.testing.assert_close(states[name][key], value, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["mollm", "masked", "refreshed", "denoiser"])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(name, tmp_path):
    expected = trained(name, micro_batch_size=4, max_steps=6)
    module = CASES[name]()
    trainer = kit.trainer(max_steps=3, precision="64-true", default_root_dir=tmp_path)
    trainer.fit(module, Vectors(batch_size=8, micro_batch_size=4))
    trainer.save_checkpoint(tmp_path / "half.ckpt")

    again = CASES[name]()
    resumed = kit.trainer(max_steps=6, precision="64-true", default_root_dir=tmp_path)
    resumed.fit(again, Vectors(batch_size=8, micro_batch_size=2), ckpt_path=tmp_path / "half.ckpt")
    assert again.windows_closed == 6
    for key, value in expected.items():
        torch.testing.assert_close(again.model.state_dict()[key], value, rtol=0, atol=1e-9)


def test_a_mask_keeps_what_it_excludes():
    state, start = trained("masked", micro_batch_size=4), weights_before("masked")
    assert torch.equal(state["0.weight"], start["0.weight"])
    assert not torch.equal(state["2.weight"], start["2.weight"])


def test_evaluating_a_kind_of_model_without_an_evaluation_names_the_method():
    module = CASES["min_norm"]()
    module.configure_model()
    with pytest.raises(NotImplementedError, match=r"Classifier has no evaluation.*`evaluate`"):
        module.validation_step({}, 0)
