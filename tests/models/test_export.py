import itertools
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from unlearn_pl.models import CausalLM, LoRA, check_export_directory, full_state_dict, save_pretrained
from unlearn_pl.models.language.names import ModelNotFoundError

IDS = torch.arange(3, 27).reshape(2, 12)


def trained(model, seed=0):
    """``model`` after one step of noise on all that is trainable."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype), alpha=0.02)
    return model


def logits(model):
    with torch.no_grad():
        return model.eval()(IDS).logits


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_export_is_the_model(tiny_model, tokenizer, tmp_path, tie, dtype):
    model = trained(tiny_model(tie=tie, dtype=dtype))
    save_pretrained(model, tmp_path / "new" / "export", tokenizer)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "new" / "export", dtype="auto")
    assert again.dtype == dtype
    assert torch.equal(logits(again), logits(model))
    assert AutoTokenizer.from_pretrained(tmp_path / "new" / "export")("mill").input_ids == tokenizer("mill").input_ids


@pytest.mark.parametrize(
    ("tie", "targets"), [(True, "all-linear"), (False, "all-linear"), (False, ["q_proj", "lm_head"])]
)
def test_adapters_are_merged_into_a_plain_model(tiny_model, tmp_path, tie, targets):
    model = trained(LoRA(r=2, target_modules=targets).apply(tiny_model(tie=tie, dtype=torch.float64)))
    weights, before = {name: p.clone() for name, p in model.named_parameters()}, logits(model)
    save_pretrained(model, tmp_path / "export")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "export", dtype="auto")
    torch.testing.assert_close(logits(again), before, rtol=0, atol=1e-6)
    assert json.loads((tmp_path / "export" / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
    after = dict(model.named_parameters())
    assert after.keys() == weights.keys()
    assert all(torch.equal(after[name], p) for name, p in weights.items())
    with model.disable_adapter():
        assert (before - logits(model)).abs().max() > 1e-3


def test_adapters_can_be_written_alone(tiny_model, tmp_path):
    from peft import PeftModel

    model = trained(LoRA(r=2).apply(tiny_model()))
    save_pretrained(model, tmp_path / "export", merge_lora=False)
    again = PeftModel.from_pretrained(tiny_model(), tmp_path / "export")
    assert torch.equal(logits(again), logits(model))
    assert not (tmp_path / "export" / "model.safetensors").exists()


def test_an_earlier_export_is_replaced_as_a_whole(tiny_model, tokenizer, tmp_path):
    save_pretrained(LoRA(r=2).apply(tiny_model()), tmp_path / "export", tokenizer, merge_lora=False)
    model = tiny_model(seed=1)
    save_pretrained(model, tmp_path / "export")
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "export")), logits(model))
    assert not list((tmp_path / "export").glob("adapter*"))
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_a_failed_export_leaves_the_earlier_one(tiny_model, tmp_path):
    model = tiny_model()
    save_pretrained(model, tmp_path / "export")

    class Broken:
        def save_pretrained(self, folder):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        save_pretrained(tiny_model(seed=1), tmp_path / "export", Broken())
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "export")), logits(model))
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


class Killed(BaseException):
    pass


@pytest.mark.filterwarnings("ignore:.*export is put in place")
@pytest.mark.parametrize("replaces", [True, False])
def test_an_export_that_is_killed_anywhere_leaves_a_whole_one(tiny_model, tokenizer, tmp_path, monkeypatch, replaces):
    earlier, later = tiny_model(), tiny_model(seed=1)
    operations = [(Path, "mkdir"), (Path, "rename"), (shutil, "rmtree"), (os, "fsync")]
    for at in itertools.count():
        folder = tmp_path / str(at) / "export"
        if replaces:
            save_pretrained(earlier, folder, tokenizer)
        with monkeypatch.context() as patch:
            counted = itertools.count()

            def dies(call, *args, counted=counted, at=at, **kwargs):
                if next(counted) >= at:
                    raise Killed
                return call(*args, **kwargs)

            for owner, name in operations:
                patch.setattr(owner, name, _wrapped(dies, getattr(owner, name)))
            try:
                save_pretrained(later, folder, tokenizer)
            except Killed:
                killed = True
            else:
                killed = False
        if not killed:
            break
        try:
            found = logits(CausalLM(str(folder)).build())
        except ModelNotFoundError:
            assert not replaces
            found = None
        assert found is None or torch.equal(found, logits(earlier)) or torch.equal(found, logits(later))
        assert not replaces or found is not None
        save_pretrained(later, folder, tokenizer)
        assert [path.name for path in folder.parent.iterdir()] == ["export"]
    assert at > 8


def _wrapped(dies, call):
    return lambda *args, **kwargs: dies(call, *args, **kwargs)


@pytest.mark.parametrize("entry", ["notes.txt", "config.json/inner", "config.json and checkpoints/last.ckpt"])
def test_other_peoples_folders_are_refused(tiny_model, tmp_path, entry):
    for name in entry.split(" and "):
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).touch()
    with pytest.raises(ValueError, match="not an earlier export"):
        save_pretrained(tiny_model(), tmp_path / "out")
    assert all((tmp_path / "out" / name).exists() for name in entry.split(" and "))


def test_new_and_empty_folders_are_accepted(tmp_path):
    check_export_directory(tmp_path / "new")
    check_export_directory(tmp_path)


def test_the_full_state_dict_is_the_state_dict_without_a_process_group(tiny_model):
    model = tiny_model(tie=False)
    found = full_state_dict(model)
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())
