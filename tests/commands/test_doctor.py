"""The doctor says what is there, and what a recipe lacks, without running it."""

import urllib.error
import urllib.request

import pytest
import torch

from unlearn_pl import cli
from unlearn_pl.commands.doctor import recipe
from unlearn_pl.commands.doctor.machine import PACKAGES, hub_access


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_versions_devices_and_extras_are_printed(capsys):
    cli.main(["doctor", "--no-hub"])
    shown = capsys.readouterr().out
    for name in PACKAGES:
        assert f"\n  {name} " in shown
    assert torch.__version__ in shown
    assert "cores" in shown
    assert "lora " in shown
    assert "not asked" in shown
    assert "Recipe" not in shown


def test_a_recipe_without_its_files_ends_with_status_1(capsys, tmp_path):
    arguments = ["doctor", "--no-hub", "-c", "tofu/mollm", "--data.path", str(tmp_path / "tofu")]
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 1
    shown = capsys.readouterr()
    assert "1 missing: data.path" in shown.err
    assert "tofu_Llama-3.2-1B-Instruct_full: to be loaded from the hub" in shown.out
    (tmp_path / "tofu").mkdir()
    cli.main(arguments)
    assert "Nothing is missing" in capsys.readouterr().out


def test_a_model_of_the_hub_is_missing_where_the_hub_does_not_answer(tmp_path):
    (tmp_path / "tofu").mkdir()
    lacking = recipe.checks(["-c", "tofu/mollm", "--data.path", str(tmp_path / "tofu")], has_hub=False)
    assert [(check.what, check.is_missing) for check in lacking] == [("model.model", True), ("data.path", False)]


def test_aliases_need_nothing_and_folders_are_looked_up():
    options = ["--model.model", "smollm2-135m"]
    known = {check.what: check.found for check in recipe.checks(["-c", "synthetic/mollm", *options])}
    assert known["model.model"] == "smollm2-135m: a name that this library knows"
    of_folder = {check.what: check.is_missing for check in recipe.checks(["-c", "synthetic/mollm"])}
    assert of_folder["model.model"]  # runs/demo/target/hf
    assert any(place.endswith("retain_results") and lacks for place, lacks in of_folder.items())


def test_files_of_ones_own_rows_are_looked_up(tmp_path):
    (tmp_path / "forget.csv").write_text("question,answer\nWho?,Oda.\n")
    files = ["--data.forget", "forget.csv", "--data.retain", "gone.csv", "--data.eval_sets", "{more: gone.jsonl}"]
    found = {check.what: check.is_missing for check in recipe.checks(["-c", "text/mollm", *files])}
    assert found["data.forget"] is False
    assert found["data.retain"] is True
    assert found["data.eval_sets.more"] is True


def test_the_name_of_a_causal_lm_and_the_file_of_a_corpus_are_looked_up():
    model = ["--model.model", "CausalLM", "--model.model.name", "runs/nowhere/hf"]
    assert {check.what: check.is_missing for check in recipe.checks(["-c", "text/mollm", *model])}["model.model.name"]
    recipes = ["-c", "base", "-c", "data/wmdp_bio", "-c", "methods/rmu_wmdp"]
    corpus = [*recipes, "--model.model", "a/b", "--data.forget", "gone.jsonl"]
    assert {check.what: check.is_missing for check in recipe.checks(corpus)}["data.forget"]


def test_names_of_objectives_are_no_files():
    places = [check.what for check in recipe.checks(["-c", "tofu/mollm"])]
    assert not any("goals" in place for place in places)


def test_packages_of_extras_are_needed_by_their_classes(monkeypatch):
    lora = ["-c", "debug/mollm", "--model.model", "CausalLM", "--model.model.name", "x", "--model.model.lora", "LoRA"]
    name, package = recipe.checks(lora)
    assert (name.what, package.found) == ("model.model.name", "peft is installed")
    monkeypatch.setattr(recipe, "find_spec", lambda name: None)
    check = recipe.checks(lora)[1]
    assert check.is_missing
    assert check.found == "LoRA needs the package peft"


@pytest.mark.parametrize(
    ("raised", "answers"),
    [
        (None, True),
        (urllib.error.HTTPError("https://x", 405, "no HEAD", {}, None), True),
        (urllib.error.URLError("unreachable"), False),
        (TimeoutError("too slow"), False),
    ],
)
def test_access_to_the_hub(raised, answers, monkeypatch):
    class Answer:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    def urlopen(request, timeout):
        assert request.method == "HEAD"
        if raised is not None:
            raise raised
        return Answer()

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    assert hub_access()[0] is answers


def test_no_request_is_sent_offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("a request"))
    assert hub_access() == (False, "switched off by HF_HUB_OFFLINE")
