"""A folder with an adapter alone stands for the model that the adapter was trained to be."""

import json
import shutil

import pytest
import torch

from tests import kit
from unlearn_pl.callbacks import SavePretrained
from unlearn_pl.models import CausalLM, LoRA, QLoRA, save_pretrained
from unlearn_pl.modules import MOLLM, GradDiff
from unlearn_pl.references import AdapterReference

IDS = torch.arange(3, 27).reshape(2, 12)


def logits(model):
    with torch.no_grad():
        return model.eval()(IDS).logits


def trained(model, seed=0):
    """``model`` after one step of noise on all that is trainable."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    return model


@pytest.fixture
def base(tmp_path):
    path = tmp_path / "base"
    save_pretrained(kit.model(), path, kit.tokenizer())
    return path


@pytest.fixture
def adapted(base, tmp_path):
    """(Folder with an adapter alone, the logits of the model that was saved there)."""
    model = trained(CausalLM(str(base), lora=LoRA(r=2)).build())
    save_pretrained(model, tmp_path / "adapter", merge_lora=False)
    expected = logits(model)
    assert (expected - logits(CausalLM(str(base)).build())).abs().max() > 1e-2
    return tmp_path / "adapter", expected


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("lora", [None, LoRA(r=3)])
def test_the_model_starts_with_the_adapter_that_was_trained(adapted, lora):
    folder, expected = adapted
    model = CausalLM(str(folder), lora=lora).build()
    close(logits(model), expected)
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert names
    assert all(("lora_" in name) == (lora is not None) for name in names)


def test_merging_leaves_the_random_state_alone(adapted):
    before = torch.get_rng_state()
    CausalLM(str(adapted[0])).build()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("lora", [None, LoRA(r=3)])
def test_an_export_of_it_reloads_to_its_logits(adapted, tmp_path, lora, merge):
    model = trained(CausalLM(str(adapted[0]), lora=lora).build(), seed=1)
    save_pretrained(model, tmp_path / "export", merge_lora=merge)
    again = CausalLM(str(tmp_path / "export")).build()
    close(logits(again), logits(model))
    assert (logits(again) - adapted[1]).abs().max() > 1e-2


@pytest.mark.parametrize("lora", [None, LoRA(r=3)])
def test_it_is_trained_and_exported_in_a_run(adapted, tmp_path, lora):
    module = GradDiff(CausalLM(str(adapted[0]), lora=lora))
    callback = SavePretrained(str(tmp_path / "out"))
    kit.trainer(max_steps=2, callbacks=[callback]).fit(module, kit.Questions(batch_size=4, micro_batch_size=4))
    assert (tmp_path / "out" / "model.safetensors").is_file()
    close(logits(CausalLM(str(tmp_path / "out")).build()), logits(module.model))


def test_its_reference_is_the_model_with_the_first_adapter(adapted):
    module = MOLLM(CausalLM(str(adapted[0]), lora=LoRA(r=3)), reference=AdapterReference())
    module.configure_model()
    with module.model.disable_adapter():
        close(logits(module.model), adapted[1])


def test_the_tokenizer_is_that_of_the_base(adapted):
    assert CausalLM(str(adapted[0])).tokenizer()("the mill").input_ids == kit.tokenizer()("the mill").input_ids


def test_a_folder_with_the_whole_model_besides_is_its_own_base(adapted, base):
    folder, expected = adapted
    for file in base.iterdir():
        shutil.copy(file, folder / file.name)
    shutil.rmtree(base)
    model = CausalLM(str(folder)).build()
    close(logits(model), expected)
    assert any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.filterwarnings("ignore:Model (has|with) `tie_word_embeddings=True`")
@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`")
@pytest.mark.parametrize("options", [{"target_modules": ["lm_head"]}, {"modules_to_save": ["lm_head"]}])
def test_adapters_of_a_tied_head_leave_the_embedding_alone(base, tmp_path, options):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, **({"target_modules": ["q_proj"]} | options), task_type="CAUSAL_LM")
    model = trained(get_peft_model(CausalLM(str(base)).build(), config))
    save_pretrained(model, tmp_path / "adapter", merge_lora=False)
    merged = CausalLM(str(tmp_path / "adapter")).build()
    close(logits(merged), logits(model))
    save_pretrained(merged, tmp_path / "export")
    close(logits(CausalLM(str(tmp_path / "export")).build()), logits(model))


def edited(folder, **changes):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("name", [None, "", "adapter", "missing"])
def test_an_adapter_without_its_base_is_refused_by_name(adapted, tmp_path, name):
    edited(adapted[0], base_model_name_or_path=name and str(tmp_path / name))
    with pytest.raises(ValueError, match=r"adapter' holds an adapter.*base"):
        CausalLM(str(adapted[0])).build()


def test_an_adapter_of_another_model_is_refused_by_name(adapted, tmp_path, tiny_model):
    save_pretrained(tiny_model(hidden_size=48), tmp_path / "wide")
    edited(adapted[0], base_model_name_or_path=str(tmp_path / "wide"))
    with pytest.raises(ValueError, match=r"adapter' cannot be merged into its base model .*wide"):
        CausalLM(str(adapted[0])).build()


def test_a_module_that_an_adapter_names_is_not_imported(adapted, tmp_path, monkeypatch):
    package = tmp_path / "megatron"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "planted.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    monkeypatch.syspath_prepend(str(tmp_path))
    edited(adapted[0], megatron_config={"a": 1}, megatron_core="megatron.planted")
    with pytest.raises(ValueError, match=r"adapter_config.json' has a megatron_config.* 'megatron.planted'"):
        CausalLM(str(adapted[0])).build()
    assert not (tmp_path / "ran").exists()


def test_weights_that_reach_no_layer_are_refused(adapted):
    edited(adapted[0], target_modules=["q_proj"])
    with pytest.raises(ValueError, match=r"adapter' cannot be merged.*weights without a layer"):
        CausalLM(str(adapted[0])).build()


def test_qlora_does_not_quantize_what_is_merged(adapted):
    with pytest.raises(ValueError, match=r"adapter' holds an adapter.*Export the merged model first"):
        CausalLM(str(adapted[0]), lora=QLoRA()).build()


def test_adapters_never_replace_the_base_that_they_need(base):
    model = CausalLM(str(base), lora=LoRA(r=2)).build()
    with pytest.raises(ValueError, match="holds the base model that they need"):
        save_pretrained(model, base, merge_lora=False)
    save_pretrained(model, base)
