"""Flags of Lightning's Trainer, and ways to call it, that raise an error with the replacement before training."""

import pytest
import torch

from tests import kit
from tests.trainer.tiny_run import assert_same, data, fit, module, weights


def refused(match: str, **flags) -> None:
    trained = module()
    with pytest.raises(ValueError, match=match):
        fit(module=trained, **flags)
    assert_same(weights(trained), weights(module()))


def test_clipping_by_value():
    refused(r"gradient_clip_algorithm='value'\).*gradient_clip_val of the module", gradient_clip_algorithm="value")


@pytest.mark.parametrize("batches", [2, 0.5])
def test_overfitting_streams(batches):
    refused(rf"overfit_batches={batches}\).*fewer rows instead; limit_train_batches", overfit_batches=batches)


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no")
def test_overfitting_plain_data_loaders():
    questions = data()
    questions.setup("fit")
    parts = {name: [] for name in ("forget", "retain")}
    for window, *_ in questions.train_dataloader():
        for name, batches in window.items():
            parts[name].extend(batches)
    loaders = {name: torch.utils.data.DataLoader(batches, None) for name, batches in parts.items()}  # 4 batches of 2
    trainer, trained = kit.trainer(max_epochs=3, overfit_batches=1), module()
    trainer.fit(trained, loaders)
    assert trained.windows_closed == 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch, about its own parts
def test_compiled_modules():
    trained = module()
    compiled = torch.compile(trained)
    for run in (kit.trainer(max_epochs=1).fit, kit.trainer().validate, kit.trainer().test, kit.trainer().predict):
        with pytest.raises(ValueError, match=r"torch.compile\(module\).*CausalLM\(name, compile=True\)"):
            run(compiled, data())
    assert_same(weights(trained), weights(module()))


def test_weights_alone_do_not_resume(tmp_path):
    trainer, _ = fit()
    trainer.save_checkpoint(tmp_path / "weights.ckpt", weights_only=True)
    refused(r"holds weights only.*start a new run from them: load_from_checkpoint", ckpt_path=tmp_path / "weights.ckpt")
    kit.trainer(limit_val_batches=1).validate(module(), data(), ckpt_path=tmp_path / "weights.ckpt", verbose=False)


def test_checkpoints_that_hold_plain_data_resume(tmp_path):
    """``fit(weights_only=True)`` means that nothing else is unpickled, and not that only weights are loaded."""
    fit()[0].save_checkpoint(tmp_path / "one.ckpt")
    found = []
    for weights_only in (None, True):
        resumed = module()
        kit.trainer(max_epochs=2).fit(resumed, data(), ckpt_path=tmp_path / "one.ckpt", weights_only=weights_only)
        assert resumed.windows_closed == 4
        found.append(weights(resumed))
    assert_same(*found)
