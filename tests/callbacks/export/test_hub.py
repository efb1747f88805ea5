"""Uploads of exports, against a stand-in of the hub's HTTP API."""

import shlex
import warnings

import pytest
import torch
from huggingface_hub import ModelCard, constants
from transformers import AutoModelForCausalLM

from tests import hub as hubs
from tests import kit
from unlearn_pl.callbacks import HubUpload, SavePretrained
from unlearn_pl.callbacks.export.hub import REPLACED
from unlearn_pl.models import CausalLM, LoRA, save_pretrained
from unlearn_pl.modules import GradDiff

REPO = "maud/tarn"

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the client's own


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with hubs.standing_in(monkeypatch, tmp_path / "cache") as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An export, made once."""
    path = tmp_path_factory.mktemp("made") / "hf"
    save_pretrained(kit.model(), path, kit.tokenizer())
    (path / "README.md").write_text("---\ntags: [unlearning]\n---\n\n# Model\n")
    return path


def fit(save, model=None):
    trainer = kit.trainer(max_steps=1, callbacks=[save])
    module = GradDiff(model or kit.model())
    trainer.fit(module, kit.Questions(batch_size=8, micro_batch_size=4))
    return module


# Before training -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "tarn",
        "maud/tarn/x",
        "maud/",
        "/tarn",
        "maud/ta rn",
        "https://huggingface.co/maud/tarn",
        "maud/a--b",
        "",
        "a/b.git",
    ],
)
def test_names_that_no_repository_has(name):
    with pytest.raises(ValueError, match=r"push_to_hub=.* is not the name of a repository: accepted is owner/name"):
        SavePretrained(push_to_hub=name)


@pytest.mark.parametrize("revision", ["", "a b", "a..b", "-x", "/x", "x/", "x.lock", "0" * 40])
def test_revisions_that_no_branch_has(revision):
    with pytest.raises(ValueError, match="revision="):
        HubUpload(REPO, revision=revision)


def test_an_empty_message():
    with pytest.raises(ValueError, match="commit_message is empty"):
        HubUpload(REPO, commit_message=" ")


def refused(save, match):
    """``fit`` raises before the model or the folder changes."""
    model = kit.model()
    with pytest.raises(ValueError, match=match):
        fit(save, model)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), kit.model().parameters(), strict=True))


def test_without_a_token_nothing_is_trained(hub, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN")
    refused(SavePretrained(str(tmp_path / "hf"), push_to_hub=REPO), "hf auth login.*HF_TOKEN")
    assert hub.log == []


def test_without_the_hub_nothing_is_trained(hub, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(SavePretrained(str(tmp_path / "hf"), push_to_hub=REPO), "HF_HUB_OFFLINE=1 switches off")
    assert hub.log == []


@pytest.mark.parametrize(
    ("known", "match"),
    [
        ({}, "does not accept the access token"),
        ({"hf_secret": hubs.account(role="read")}, "the access token only reads"),
        ({"hf_secret": hubs.account("ruben", orgs={"osk": "admin"})}, "accepted owners: ruben, osk"),
        ({"hf_secret": hubs.account("ruben", orgs={"maud": "read"})}, "only reads in the organization"),
        ({"hf_secret": hubs.account(role="fineGrained", fineGrained={"scoped": []})}, "fine-grained access token"),
    ],
)
def test_tokens_that_may_not_write(hub, known, match, tmp_path):
    hub.accounts = known
    refused(SavePretrained(str(tmp_path / "hf"), push_to_hub=REPO), match)
    assert hub.repositories == {}


@pytest.mark.parametrize("entity", [{"type": "user", "name": "maud"}, {"type": "model", "name": REPO}])
def test_fine_grained_tokens_that_may_write(hub, entity):
    scopes = [{"entity": entity, "permissions": ["repo.content.read", "repo.write"]}]
    hub.accounts = {"hf_secret": hubs.account(role="fineGrained", fineGrained={"scoped": scopes})}
    assert HubUpload(REPO).check() is None
    assert hub.repositories == {}  # a check creates nothing


def test_organizations_are_owners_too(hub):
    assert HubUpload("osk/tarn").check() is None


def test_a_public_repository_is_no_place_for_what_should_be_private(hub, folder):
    hub.repositories[REPO] = hubs.Repository(private=False)
    with pytest.raises(ValueError, match="exists and is public"):
        HubUpload(REPO, private=True).check()
    # Made public, or made at all, while the model was trained.
    address, sentence = HubUpload(REPO, private=True).attempt(folder)
    assert address is None
    assert "exists and is public" in sentence
    assert hub.repositories[REPO].branches == {"main": {}}


@pytest.mark.parametrize("failure", [500, 429, hubs.DROP])
def test_a_hub_that_does_not_answer_is_a_warning(hub, failure, tmp_path):
    hub.failures["whoami"] = failure
    save = SavePretrained(str(tmp_path / "hf"), push_to_hub=REPO)
    with pytest.warns(UserWarning, match="could not be checked.*if the upload fails, the folder stays"):
        fit(save)
    assert save.uploaded  # it answers again


def test_messages_do_not_show_the_token(hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_sécret")  # no header can hold it, and the client's error prints the header
    sentence = HubUpload(REPO).check()
    assert sentence
    assert "cret" not in sentence


# The upload ----------------------------------------------------------------------------------------------------------


def test_the_model_is_uploaded_after_training(hub, tmp_path):
    save = SavePretrained(str(tmp_path / "hf"), push_to_hub=HubUpload(REPO, private=True, commit_message="Forget Tarn"))
    module = fit(save)
    repository = hub.repositories[REPO]
    assert repository.private
    assert repository.messages == ["Forget Tarn"]
    assert save.uploaded.startswith(f"{hub.url}/{REPO}/commit/")
    written = {path.name: path.read_bytes() for path in (tmp_path / "hf").iterdir()}
    assert repository.branches["main"] == written
    assert {"model.safetensors", "config.json", "README.md", "tokenizer.json"} <= written.keys()
    again, ids = AutoModelForCausalLM.from_pretrained(REPO), torch.arange(3, 13)[None]
    assert torch.equal(again(ids).logits, module.model.eval()(ids).logits)
    assert ModelCard.load(tmp_path / "hf" / "README.md").data.tags


def test_a_name_is_enough(hub, tmp_path):
    save = SavePretrained(str(tmp_path / "hf"), push_to_hub=REPO)
    fit(save)
    assert not hub.repositories[REPO].private
    assert hub.repositories[REPO].branches["main"]


def test_a_test_run_uploads_nothing(hub, tmp_path):
    save = SavePretrained(str(tmp_path / "hf"), push_to_hub=REPO)
    trainer = kit.trainer(fast_dev_run=True, callbacks=[save])
    trainer.fit(GradDiff(kit.model()), kit.Questions(batch_size=8, micro_batch_size=4))
    assert hub.repositories == {}
    assert save.uploaded is None


def test_branches_are_made(hub, folder):
    for _ in range(2):
        HubUpload(REPO, revision="dev").upload(folder)
    assert hub.repositories[REPO].branches["main"] == {}
    assert "model.safetensors" in hub.repositories[REPO].branches["dev"]


def test_an_earlier_model_is_replaced_as_a_whole(hub, folder):
    earlier = ["model-00001-of-00002.safetensors", "model.safetensors.index.json", "adapter_config.json"]
    earlier += ["pytorch_model.bin", "LICENSE", "images/curve.png"]
    hub.repositories[REPO] = hubs.Repository(branches={"main": dict.fromkeys(earlier, b"old")})
    HubUpload(REPO).upload(folder)
    kept = {name for name, data in hub.repositories[REPO].branches["main"].items() if data == b"old"}
    assert kept == {"LICENSE", "images/curve.png"}


def test_adapters_alone_are_uploaded(hub, tmp_path):
    pytest.importorskip("peft")
    save_pretrained(kit.model(), tmp_path / "base", kit.tokenizer())
    save = SavePretrained(str(tmp_path / "hf"), merge_lora=False, push_to_hub=REPO)
    fit(save, CausalLM(str(tmp_path / "base"), lora=LoRA(r=2)))
    files = hub.repositories[REPO].branches["main"]
    assert {"adapter_model.safetensors", "adapter_config.json"} <= files.keys()
    assert "model.safetensors" not in files


def test_shards_are_uploaded(hub, tmp_path):
    model = kit.model()
    model.save_pretrained(tmp_path / "hf", max_shard_size="50KB")
    HubUpload(REPO).upload(tmp_path / "hf")
    files = hub.repositories[REPO].branches["main"]
    assert sum(name.endswith(".safetensors") for name in files) > 1
    again, ids = AutoModelForCausalLM.from_pretrained(REPO), torch.arange(3, 13)[None]
    assert torch.equal(again(ids).logits, model.eval()(ids).logits)


@pytest.mark.parametrize(
    ("place", "failure"),
    [
        ("repos/create", 500),
        ("repos/create", 403),
        ("preupload", 403),
        ("preupload", hubs.DROP),
        ("objects/batch", 404),
        ("PUT /stored", 500),
        ("PUT /stored", hubs.DROP),
        ("POST .*/commit/", 401),
        ("POST .*/commit/", hubs.DROP),
    ],
)
def test_an_upload_that_fails_loses_nothing(hub, folder, place, failure):
    hub.failures[place] = failure
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    upload = HubUpload(REPO, private=True, revision="dev", commit_message="It's done")
    address, sentence = upload.attempt(folder)
    assert address is None
    assert "NOT uploaded" in sentence
    assert "hf_secret" not in sentence
    command = shlex.split(sentence.partition("To upload it: ")[2])
    assert command[:5] == ["hf", "upload", REPO, str(folder), "."]
    assert {"--private", "--revision", "dev", "It's done", *REPLACED} <= {*command}
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.failures.clear()
    assert upload.attempt(folder)[0]  # it can be repeated


def test_a_fit_whose_upload_fails_ends_well(hub, tmp_path):
    hub.failures["PUT /stored"] = hubs.DROP
    save = SavePretrained(str(tmp_path / "hf"), push_to_hub=REPO)
    with pytest.warns(UserWarning, match=r"NOT uploaded.*The folder is complete. To upload it: hf upload maud/tarn"):
        fit(save)
    assert save.uploaded is None
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "hf") is not None


def test_the_command_that_is_told_works(hub, folder):
    """Parsed by the command line of the hub's client itself."""
    hf = pytest.importorskip("huggingface_hub.cli.hf")
    words = shlex.split(HubUpload(REPO, private=True, revision="dev").command(folder))
    HubUpload(REPO, private=True, revision="dev").upload(folder)
    hub.repositories[REPO].branches["dev"] = {"old.bin": b"old"}
    hf.app.main(words[1:], standalone_mode=False)
    assert {*hub.repositories[REPO].branches["dev"]} == {path.name for path in folder.iterdir()}


def test_a_folder_that_does_not_reload_is_not_uploaded(hub, monkeypatch, tmp_path):
    from unlearn_pl.callbacks import save_pretrained as module

    def other(model, directory, tokenizer, merge_lora, files):
        save_pretrained(kit.model(seed=3), directory, tokenizer, merge_lora)

    monkeypatch.setattr(module, "save_pretrained", other)
    save = SavePretrained(str(tmp_path / "hf"), push_to_hub=REPO)
    with (
        pytest.warns(UserWarning, match="The export in .* does NOT reload to the logits"),
        pytest.warns(UserWarning, match="NOT uploaded, because the folder .* does NOT reload"),
    ):
        fit(save)
    assert save.uploaded is None
    assert hub.repositories == {}


# Configurations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [REPO, {"repo_id": REPO, "private": True}])
def test_recipes_name_a_repository(given):
    from unlearn_pl.commands.parser import TrainerParser

    parser = TrainerParser()
    parser.add_argument("--save", type=SavePretrained)
    if isinstance(given, dict):
        given = {"class_path": "HubUpload", "init_args": given}
    config = {"save": {"class_path": "SavePretrained", "init_args": {"push_to_hub": given}}}
    save = parser.instantiate_classes(parser.parse_object(config)).save
    assert save.push_to_hub.repo_id == REPO
    assert bool(save.push_to_hub.private) is isinstance(given, dict)


def test_no_argument_takes_a_token():
    with warnings.catch_warnings(), pytest.raises(TypeError):
        HubUpload(REPO, token="hf_secret")
