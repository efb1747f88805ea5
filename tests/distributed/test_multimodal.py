"""Multimodal models train on texts on two ranks as on one process; what texts do not reach stays as it is."""

import pytest
import torch

from tests.distributed import multimodal_cases as cases
from unlearn_pl.models import CausalLM, LiveModel
from unlearn_pl.models.text_path import off_text_path

pytestmark = pytest.mark.distributed


@pytest.mark.parametrize("name", cases.MODELS)
def test_two_ranks_train_the_language_model_as_one_process_does(pool, name):
    try:
        before, alone = cases.train(name, "auto", 1)
    except ValueError as error:
        if "`token_type_ids` is required" not in str(error):
            raise
        pytest.skip("this transformers trains Gemma 3 with marks of its images only; 5.23 does without")
    ranks = pool.run(cases.train, name, "ddp", 2)[0][1]
    moved = {key for key, value in alone.items() if not torch.equal(value, before[key])}
    assert moved
    assert not [key for key in moved if "vision" in key or "projector" in key or (name == "mllama" and ".1." in key)]
    for key, value in alone.items():
        torch.testing.assert_close(ranks[key], value, rtol=1e-3, atol=1e-5)


def test_models_of_texts_are_left_alone():
    from tests import kit

    assert off_text_path(kit.model()) == []
    assert off_text_path(torch.nn.Linear(2, 2)) == []


def test_a_specification_with_a_forward_of_its_own_is_left_alone():
    class Seeing(LiveModel):
        def forward(self, model, batch, needs):
            return super().forward(model, batch, needs)

    model = cases.gemma3()
    Seeing(model).freeze_unreached(model)
    assert all(parameter.requires_grad for parameter in model.parameters())
    CausalLM("anywhere").freeze_unreached(model)
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == set(off_text_path(model)) != set()
