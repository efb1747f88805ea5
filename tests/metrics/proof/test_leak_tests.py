"""What counts as a leak: recall, core, a judge, and an entailment model with a known head."""

import json

import pytest
import torch

from tests import kit
from unlearn_pl.metrics import Asked, EntailedLeak, JudgedLeak, RougeLeak, SpanLeak
from unlearn_pl.recording import record

ASKED = [
    Asked("Who is mayor?", "The mayor is Oda Lind.", "Oda Lind"),
    Asked("When was it?", "In 1948.", "1948"),
    Asked("Where?", "In Karlsby.", "Karlsby"),
]
ANSWERS = ["oda lind, surely", "The spring of 1948", "no idea"]


def judge(question: str, answer: str, truth: str) -> float:
    return 1.0 if question == "Where?" else 0.25


def wrong(question: str, answer: str, truth: str) -> float:
    return 1.5


def broken(question: str, answer: str, truth: str) -> float:
    raise KeyError("no key")


def test_scores():
    assert RougeLeak().scores(ASKED, ANSWERS) == [pytest.approx(2 / 5), pytest.approx(1 / 2), 0.0]
    assert SpanLeak().scores(ASKED, ANSWERS) == [1.0, 1.0, 0.0]
    assert JudgedLeak(judge).scores(ASKED, ANSWERS) == [0.25, 0.25, 1.0]
    assert record(JudgedLeak(judge))["init_args"] == {"judge": f"{__name__}.judge"}


@pytest.mark.parametrize(("function", "says"), [(wrong, "returned 1.5"), (broken, "raised KeyError")])
def test_a_judge_that_fails_is_named(function, says):
    with pytest.raises(ValueError, match=f"{function.__name__} {says} at the answer 'oda lind, surely' to 'Who is"):
        JudgedLeak(function).scores(ASKED, ANSWERS)


@pytest.mark.parametrize("threshold", [0.0, 1.1, float("nan")])
def test_thresholds(threshold):
    with pytest.raises(ValueError, match="threshold"):
        RougeLeak(threshold)


@pytest.fixture(scope="module")
def entailment(tmp_path_factory):
    """A classifier whose head is constant: entailment with probability 2 / 3, whatever it reads."""
    from transformers import LlamaConfig, LlamaForSequenceClassification

    folder = tmp_path_factory.mktemp("entailment")
    labels = {0: "contradiction", 1: "Entailment"}
    config = LlamaConfig(
        vocab_size=len(kit.tokenizer()), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        id2label=labels, label2id={name: i for i, name in labels.items()}, pad_token_id=kit.tokenizer().pad_token_id,
    )  # fmt: skip
    model = LlamaForSequenceClassification(config)
    with torch.no_grad():
        # Of normalized states h, w.h is not constant; a constant comes from a norm of weight 0 with no bias: 0 logits.
        model.score.weight.zero_()
    model.save_pretrained(folder)
    kit.tokenizer().save_pretrained(folder)
    return folder


def test_an_entailment_model_is_asked_about_what_passes_the_gate(entailment):
    # all logits are 0: a half for each of the two labels; the third answer has no word of the truth
    assert EntailedLeak(str(entailment)).scores(ASKED, ANSWERS) == [0.5, 0.5, 0.0]
    assert EntailedLeak(str(entailment), batch_size=1).scores(ASKED, ["", *ANSWERS[1:]]) == [0.0, 0.5, 0.0]
    assert EntailedLeak(str(entailment), min_rouge=0.45).scores(ASKED, ANSWERS) == [0.0, 0.5, 0.0]


def test_models_that_cannot_judge_raise(entailment, tmp_path):
    with pytest.raises(ValueError, match="cannot be loaded"):
        EntailedLeak(str(tmp_path)).scores(ASKED, ANSWERS)
    config = json.loads((entailment / "config.json").read_text())
    for file in entailment.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(config | {"id2label": {"0": "no", "1": "yes"}, "label2id": {}}))
    with pytest.raises(ValueError, match="has the labels"):
        EntailedLeak(str(tmp_path)).scores(ASKED, ANSWERS)
