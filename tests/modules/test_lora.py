"""MOLLM on adapters: the reference is the model under them, and checkpoints hold nothing else."""

import functools
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from tests import kit
from unlearn_pl.masks import TrainableParameters
from unlearn_pl.models import CausalLM, LoRA
from unlearn_pl.modules import MOLLM
from unlearn_pl.optim import Constant
from unlearn_pl.references import AdapterReference, FrozenReference

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended"),
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
]

OPTIONS = {"optimizer": functools.partial(torch.optim.AdamW, lr=1e-2), "schedule": Constant()}


class Recorded(kit.Recording, MOLLM):
    pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    kit.model().save_pretrained(path)
    return str(path)


def module(folder: str, cls=MOLLM, reference=None, dropout: float = 0.0, **options):
    torch.manual_seed(3)  # peft draws A from the global generator
    spec = CausalLM(folder, lora=LoRA(r=4, dropout=dropout))
    return cls(spec, reference=reference or AdapterReference(), **OPTIONS | options)


def fit(module, *callbacks: pl.Callback, ckpt_path=None, **options):
    trainer = kit.trainer(
        callbacks=list(callbacks), enable_checkpointing=bool(callbacks), **({"max_epochs": 2} | options)
    )
    torch.manual_seed(3)
    trainer.fit(module, kit.Questions(batch_size=4, micro_batch_size=2), ckpt_path=ckpt_path)
    return module


def test_only_the_adapters_move(folder):
    trained = fit(module(folder))
    names = [name for name, p in trained.model.named_parameters() if p.requires_grad]
    assert names
    assert all("lora_" in name for name in names)
    originals = dict(kit.model().named_parameters())
    for name, p in trained.model.named_parameters():
        if "lora_" not in name:
            plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
            assert torch.equal(p, originals[plain])
        elif "lora_B" in name:
            assert p.any()


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_kl_is_noise_at_the_first_step_and_enters_later(folder, dropout):
    trained = fit(module(folder, Recorded, dropout=dropout), max_epochs=6)
    kl = [step["weights"][1].item() for step in trained.history]
    assert kl[0] == 0
    assert any(weight > 0 for weight in kl)


def test_the_model_under_the_adapter_is_the_original(folder):
    frozen, adapter = (fit(module(folder, reference=r())) for r in (FrozenReference, AdapterReference))
    for mine, theirs in zip(adapter.model.parameters(), frozen.model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_a_checkpoint_holds_the_adapters_only(folder, tmp_path):
    trained = fit(module(folder), max_steps=1)
    trained.trainer.save_checkpoint(tmp_path / "lora.ckpt")
    keys = torch.load(tmp_path / "lora.ckpt", weights_only=True)["state_dict"].keys()
    assert keys == {f"model.{name}" for name, p in trained.model.named_parameters() if "lora_" in name}


def test_resuming_is_not_noticed(folder, tmp_path):
    whole = fit(module(folder))
    saving = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_on_train_epoch_end=False)
    fit(module(folder), saving, max_steps=3)
    torch.manual_seed(99)
    resumed = fit(module(folder), ckpt_path=Path(saving.best_model_path))
    for mine, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_module_comes_back_from_the_adapters_and_the_name_of_the_base(folder, tmp_path):
    trained = fit(module(folder), max_steps=2)
    trained.trainer.save_checkpoint(tmp_path / "lora.ckpt")
    loaded = MOLLM.load_from_checkpoint(tmp_path / "lora.ckpt")
    for mine, theirs in zip(loaded.model.parameters(), trained.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_checkpoint_of_other_weights_is_refused(folder, tmp_path):
    """Not silently ignored because a checkpoint of adapters lacks most of the weights by design."""
    plain = fit(MOLLM(folder, **OPTIONS), max_steps=1)
    plain.trainer.save_checkpoint(tmp_path / "plain.ckpt")
    with pytest.raises(RuntimeError, match=r"Unexpected key.*model.model.embed_tokens"):
        kit.trainer(limit_val_batches=1.0).validate(
            module(folder), kit.Questions(batch_size=4, micro_batch_size=2), ckpt_path=tmp_path / "plain.ckpt"
        )


def test_adapters_that_a_mask_freezes_are_in_the_checkpoint(folder, tmp_path):
    """The A matrices are random, so the base model's name does not bring them back."""
    trained = fit(module(folder, mask=TrainableParameters(["lora_B"])), max_steps=2)
    trained.trainer.save_checkpoint(tmp_path / "lora.ckpt")
    loaded = MOLLM.load_from_checkpoint(tmp_path / "lora.ckpt")
    for mine, theirs in zip(loaded.model.parameters(), trained.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_live_model_with_adapters_is_saved_whole(folder, tmp_path):
    live = MOLLM(LoRA(r=4).apply(kit.model()), reference=AdapterReference(), **OPTIONS)
    fit(live, max_steps=2)
    live.trainer.save_checkpoint(tmp_path / "live.ckpt")
    loaded = MOLLM.load_from_checkpoint(tmp_path / "live.ckpt", model=LoRA(r=4).apply(kit.model(seed=7)))
    for mine, theirs in zip(loaded.model.parameters(), live.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
