"""A mask in training: interrupted, resumed, and never exchanged."""

import functools

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from tests import kit
from unlearn_pl.masks import ElementMask, TrainableParameters
from unlearn_pl.modules import MOLLM
from unlearn_pl.optim import Cosine

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]

QUERY = "model.layers.0.self_attn.q_proj.weight"
OPTIMIZER = functools.partial(torch.optim.AdamW, lr=1e-2, weight_decay=0.3)


def mask(step=3):
    return ElementMask({QUERY: (torch.arange(32 * 32) % step == 0).view(32, 32)})


def fit(mask, *callbacks, ckpt_path=None, epochs=2):
    module = MOLLM(kit.model(), mask=mask, optimizer=OPTIMIZER, schedule=Cosine(warmup_epochs=0.5))
    trainer = kit.trainer(max_epochs=epochs, callbacks=list(callbacks), enable_checkpointing=bool(callbacks))
    trainer.fit(module, kit.Questions(batch_size=8, micro_batch_size=4), ckpt_path=ckpt_path)
    return module


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """After the first of two epochs, with a mask."""
    folder = tmp_path_factory.mktemp("masked")
    fit(mask(), ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1))
    return folder / "epoch=0.ckpt"


def test_a_resumed_run_is_the_uninterrupted_one(checkpoint):
    whole, resumed = fit(mask()), fit(mask(), ckpt_path=checkpoint)
    for mine, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    kept = dict(resumed.model.named_parameters())[QUERY]
    original = dict(kit.model().named_parameters())[QUERY]
    assert torch.equal(kept != original, mask().masks[QUERY])
    group = resumed.optimizers().param_groups[0]
    assert group["weight_decay"] == 0.3
    assert torch.load(checkpoint, weights_only=True)["optimizer_states"][0]["param_groups"][0]["weight_decay"] == 0.3


@pytest.mark.parametrize("other", [None, mask(2), TrainableParameters(["q_proj"])])
def test_another_mask_is_refused(checkpoint, other):
    with pytest.raises(ValueError, match=r"trained with the mask \w{12}, and would be resumed with (no|the) mask"):
        fit(other, ckpt_path=checkpoint)


def test_a_mask_for_a_run_that_had_none_is_refused(tmp_path):
    fit(None, ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1))
    with pytest.raises(ValueError, match=r"trained with no mask, and would be resumed with the mask"):
        fit(mask(), ckpt_path=tmp_path / "epoch=0.ckpt")


def test_an_evaluation_does_not_mind(checkpoint):
    module = MOLLM(kit.model())
    trainer = kit.trainer(limit_val_batches=1)
    trainer.validate(module, kit.Questions(batch_size=8, micro_batch_size=4), ckpt_path=checkpoint, verbose=False)
    before = dict(kit.model().named_parameters())[QUERY]
    assert not torch.equal(dict(module.model.named_parameters())[QUERY], before)
