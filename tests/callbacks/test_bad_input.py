"""What cannot be evaluated is refused before the model is called, and leaves no file."""

import json

import pytest

from tests import kit
from tests.callbacks import evaluated
from tests.callbacks.evaluated import Splits
from unlearn_pl.callbacks import MUSEEvaluation, PreferenceEvaluation, TOFUEvaluation, WMDPEvaluation
from unlearn_pl.data import ChatTemplate
from unlearn_pl.modules import PretrainedModule

SPLITS = {
    TOFUEvaluation: ["forget", "holdout"],
    MUSEEvaluation: ["privleak_forget", "privleak_holdout"],
    WMDPEvaluation: ["wmdp_bio"],
    PreferenceEvaluation: ["preference"],
}


def refuse(tmp_path, evaluate, message, data, **arguments):
    model, forwards = kit.model(), []
    model.register_forward_hook(lambda *_: forwards.append(1))
    output = tmp_path / "out" / "results.json"
    evaluation = evaluate(output=str(output), **arguments)
    with pytest.raises(ValueError, match=message):
        kit.trainer(callbacks=[evaluation]).test(PretrainedModule(model), data, verbose=False)
    assert not forwards
    assert not output.parent.exists()


@pytest.mark.parametrize("evaluate", SPLITS)
def test_an_empty_split(tmp_path, evaluate, monkeypatch):
    monkeypatch.setitem(evaluated.SPLITS, SPLITS[evaluate][0], list)
    refuse(tmp_path, evaluate, f"split '{SPLITS[evaluate][0]}' is empty", Splits(SPLITS[evaluate]))


@pytest.mark.parametrize("evaluate", [TOFUEvaluation, PreferenceEvaluation])
def test_a_tokenizer_without_the_chat_template_that_is_asked_for(tmp_path, evaluate):
    data = Splits(SPLITS[evaluate], template=ChatTemplate())
    refuse(tmp_path, evaluate, "The tokenizer has no chat template, which ChatTemplate needs", data)


@pytest.mark.parametrize("evaluate", [TOFUEvaluation, MUSEEvaluation])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no file"),
        ("", "not"),
        ('{"schema_version": 1, "benchmark": "to', "not"),
        ('{"schema_version": 1, "benchmark": "tofu"}', "not a complete results.json"),
        ('{"schema_version": 7}', "schema version"),
        ('{"accuracy": 0.5}', "retain.json"),
        ("[1, 2]", "retain.json"),
    ],
)
def test_missing_damaged_and_foreign_results_of_the_retain_model(tmp_path, evaluate, content, message):
    path = tmp_path / "retain.json"
    if content is not None:
        path.write_text(content)
    refuse(tmp_path, evaluate, message, Splits(SPLITS[evaluate]), retain_results=str(path))


@pytest.mark.parametrize("evaluate", [TOFUEvaluation, MUSEEvaluation])
def test_results_of_another_benchmark(tmp_path, evaluate):
    path = str(tmp_path / "wmdp.json")
    trainer = kit.trainer(callbacks=[WMDPEvaluation(output=path)])
    trainer.test(PretrainedModule(kit.model()), Splits(["wmdp_bio"]), verbose=False)
    assert json.loads((tmp_path / "wmdp.json").read_text())["benchmark"] == "wmdp"
    refuse(tmp_path, evaluate, "wmdp.json", Splits(SPLITS[evaluate]), retain_results=path)
