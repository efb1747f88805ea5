"""Models from the hub, against a stand-in of its HTTP API: what is refused is said with its page and a way out."""

import json
import re

import pytest
import torch

from tests import hub as hubs
from tests import kit
from unlearn_pl.models import CausalLM, save_pretrained
from unlearn_pl.models.language.names import load_tokenizer

LOADERS = {"model": lambda name: CausalLM(name).build(), "tokenizer": load_tokenizer}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with hubs.standing_in(monkeypatch, tmp_path / "cache") as stand_in:
        yield stand_in


@pytest.fixture(params=LOADERS)
def load(request):
    return LOADERS[request.param]


def published(hub, name, folder, **options):
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.repositories[name] = hubs.Repository(branches={"main": files}, **options)


@pytest.mark.parametrize(
    ("token", "match"), [("hf_secret", "the account of the access token has none"), (None, "then run `hf auth login`")]
)
def test_gated_models_name_their_page_and_the_login(hub, load, monkeypatch, token, match):
    if token is None:
        monkeypatch.delenv("HF_TOKEN")
    hub.repositories["osk/gated"] = hubs.Repository(gated=True)
    with pytest.raises(ValueError, match=f"it is gated: ask for access on {hub.url}/osk/gated; .*{match}"):
        load("osk/gated")


@pytest.mark.parametrize("name", ["osk/private", "osk/nothing"])
def test_private_models_are_not_told_from_missing_ones(hub, load, monkeypatch, name):
    """As the hub itself does not."""
    monkeypatch.delenv("HF_TOKEN")
    hub.repositories["osk/private"] = hubs.Repository(private=True)
    with pytest.raises(ValueError, match=f"there is no {hub.url}/{name}, or it is private: run `hf auth login`"):
        load(name)


def test_tokens_that_may_not_read_this_model(hub, load):
    hub.failures["resolve"] = 403
    with pytest.raises(ValueError, match="hf auth login"):
        load("osk/fine-grained")


def test_a_connection_that_breaks_is_an_error_of_the_model(hub, load):
    hub.failures["resolve"] = hubs.DROP
    with pytest.raises(ValueError, match="a model of that name cannot be loaded from the hub"):
        load("osk/far")


def test_a_gated_base_model_of_an_adapter(hub, tmp_path):
    pytest.importorskip("peft")
    hub.repositories["osk/gated"] = hubs.Repository(gated=True)
    config = {"peft_type": "LORA", "base_model_name_or_path": "osk/gated", "task_type": "CAUSAL_LM"}
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(
        ValueError, match=f"its base model 'osk/gated' .*ask for access on {re.escape(hub.url)}/osk/gated"
    ):
        CausalLM(str(tmp_path / "adapter")).build()


@pytest.mark.filterwarnings("ignore:.*local_dir_use_symlinks:UserWarning")  # of diffusers
def test_gated_text_to_image_models(hub):
    pytest.importorskip("diffusers")
    from unlearn_pl.models.diffusion.diffusers_folder import read_folder

    hub.repositories["osk/gated"] = hubs.Repository(gated=True)
    with pytest.raises(ValueError, match=f"it is gated: ask for access on {hub.url}/osk/gated"):
        read_folder("osk/gated", torch.float32)


def test_a_revision_is_loaded_and_a_wrong_one_named(hub, tmp_path):
    for seed, branch in enumerate(("main", "dev")):
        save_pretrained(kit.model(seed), tmp_path / branch, kit.tokenizer())
    published(hub, "osk/two", tmp_path / "main")
    hub.repositories["osk/two"].branches["dev"] = {p.name: p.read_bytes() for p in (tmp_path / "dev").iterdir()}
    ids = torch.arange(3, 13)[None]
    with torch.no_grad():
        found = [CausalLM("osk/two", revision=name).build().eval()(ids).logits for name in (None, "dev")]
        expected = [kit.model(seed).eval()(ids).logits for seed in (0, 1)]
    for mine, its in zip(found, expected, strict=True):
        assert torch.equal(mine, its)
    with pytest.raises(ValueError, match="nope is not a valid git identifier"):
        CausalLM("osk/two", revision="nope").build()
