"""Folders of models hold weights and settings; code in them is not run."""

import io
import json
from pathlib import Path

import pytest
import torch

from tests import kit
from unlearn_pl.metrics import Asked, EntailedLeak
from unlearn_pl.models import CausalLM, ImageClassifier, load_tokenizer

PLANTED = "from pathlib import Path\nPath('ran').touch()\nfrom transformers import PreTrainedTokenizerFast as Planted\n"


def test_a_tokenizer_of_its_own_is_not_imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))  # a prompt would be answered with yes
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "cache"))
    kit.model().save_pretrained("model")
    kit.tokenizer().save_pretrained("model")
    Path("model/planted.py").write_text(PLANTED)
    file = Path("model/tokenizer_config.json")
    settings = {**json.loads(file.read_text()), "tokenizer_class": "Planted"}
    settings["auto_map"] = {"AutoTokenizer": ["planted.Planted", "planted.Planted"]}
    file.write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="trust_remote_code"):
        load_tokenizer("model")
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("auto", "load"),
    [
        ("AutoModelForImageClassification", lambda: ImageClassifier("model").build()),
        (
            "AutoModelForSequenceClassification",
            lambda: EntailedLeak("model").scores([Asked("Who?", "Ada", "Ada")], ["Ada"]),
        ),
    ],
)
def test_classifiers_of_their_own_are_not_imported(tmp_path, monkeypatch, auto, load):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "cache"))
    kit.model().save_pretrained("model")
    kit.tokenizer().save_pretrained("model")
    Path("model/planted.py").write_text(PLANTED)
    file = Path("model/config.json")
    settings = {"model_type": "planted", "auto_map": {"AutoConfig": "planted.Planted", auto: "planted.Planted"}}
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    with pytest.raises(ValueError, match="custom code"):
        load()
    assert not Path("ran").exists()


def test_pickled_weights_are_not_read(tmp_path):
    kit.model().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(kit.model().state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        CausalLM(str(tmp_path)).build()
