"""Tasks of the lm-evaluation-harness, against our own multiple-choice evaluation of the same questions."""

import json
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
import yaml

from tests import kit
from tests.callbacks import evaluated
from tests.callbacks.evaluated import Splits
from unlearn_pl.callbacks import LMEvaluation, WMDPEvaluation
from unlearn_pl.data import MultipleChoice
from unlearn_pl.modules import PretrainedModule
from unlearn_pl.results import read_results

needs_lm_eval = pytest.mark.skipif(find_spec("lm_eval") is None, reason="the package lm_eval is missing")

OPTIONS = ["salt", "a lighthouse", "bees in Karlsby", "No"]
QUESTIONS = [
    MultipleChoice(f"What is {i} and {'so on, and ' * (i % 3)}{i + 1}?", OPTIONS[i % 4 :] + OPTIONS[: i % 4], i % 4)
    for i in range(11)
]
TASK = {
    "task": "made_up",
    "dataset_path": "json",
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nD. {{choices[3]}}\nAnswer:",
    "doc_to_choice": ["A", "B", "C", "D"],
    "doc_to_target": "answer",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    "metadata": {"version": 3},
}


@pytest.fixture
def folder(tmp_path):
    """A task of 11 questions."""
    path = tmp_path / "tasks"
    path.mkdir()
    rows = [{"question": q.question, "choices": list(q.choices), "answer": q.answer} for q in QUESTIONS]
    (path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"data_files": {"test": str(path / "rows.jsonl")}, "cache_dir": str(tmp_path / "cache")}
    (path / "made_up.yaml").write_text(yaml.safe_dump(TASK | {"dataset_kwargs": source}))
    return str(path)


def run(*evaluations, **options):
    model = kit.model(dtype=torch.float64)
    with torch.no_grad():
        model.lm_head.weight.mul_(20)  # random logits are nearly flat otherwise
    module = PretrainedModule(model, max_new_tokens=3)
    trainer = kit.trainer(callbacks=list(evaluations), precision="64-true", **options)
    return trainer.test(module, Splits(["wmdp_bio"]), verbose=False)[0]


@needs_lm_eval
@pytest.mark.parametrize("batch_size", [1, 4])
def test_accuracy_is_that_of_our_own_evaluation(folder, tmp_path, monkeypatch, batch_size):
    monkeypatch.setitem(evaluated.SPLITS, "wmdp_bio", lambda: QUESTIONS)
    theirs = LMEvaluation(["made_up"], output=str(tmp_path / "lm.json"), include_path=folder, batch_size=batch_size)
    ours = WMDPEvaluation(output=str(tmp_path / "wmdp.json"))
    logged = run(theirs, ours)
    mine, correct = ours.results.metrics["wmdp_bio_accuracy"], ours.results.per_example["wmdp_bio"]["correct"]
    assert 0 < mine < 1
    assert theirs.results.per_example == {"made_up": {"acc": correct}}
    assert logged["test/lm_eval/made_up_acc"] == theirs.results.metrics["made_up_acc"] == mine
    spread = torch.tensor(list(correct.values()), dtype=torch.float64).std() / 11**0.5
    assert theirs.results.metrics["made_up_acc_stderr"] == pytest.approx(spread.item(), rel=1e-9)
    assert read_results(tmp_path / "lm.json") == theirs.results
    assert theirs.results.versions["lm_eval made_up"] == "3"
    assert len(set(theirs.results.questions["made_up"].values())) == 11


@needs_lm_eval
def test_some_questions_only_and_no_other_random_numbers(folder, tmp_path):
    evaluation = LMEvaluation(["made_up"], output=str(tmp_path / "lm.json"), include_path=folder, limit=3)
    after = []
    for evaluations in ([WMDPEvaluation(output=str(tmp_path / "wmdp.json"))], [evaluation]):
        torch.manual_seed(5)
        run(*evaluations)
        after.append(torch.rand(3))
    assert torch.equal(*after)  # the harness seeds everything; the run does not notice
    assert list(evaluation.results.per_example["made_up"]["acc"]) == [0, 1, 2]


@needs_lm_eval
def test_unknown_tasks_are_refused_before_the_work(folder, tmp_path):
    evaluation = LMEvaluation(["made_up", "nowhere"], output=str(tmp_path / "lm.json"), include_path=folder)
    with pytest.raises(ValueError, match=r"Unknown tasks \['nowhere'\]; 'lm-eval ls tasks' lists"):
        run(evaluation)
    assert not (tmp_path / "lm.json").exists()


@needs_lm_eval
def test_several_processes_are_refused(folder):
    trainer = SimpleNamespace(world_size=2, callbacks=[])
    with pytest.raises(ValueError, match="runs in one process, but the Trainer has 2"):
        LMEvaluation(["made_up"], include_path=folder).setup(trainer, PretrainedModule(kit.model()), "test")


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("unlearn_pl.callbacks.lm_eval.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs lm-eval: pip install 'unlearn_pl\[lm-eval\]'"):
        run(LMEvaluation(["wmdp_bio"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": []}, r"tasks=\[\]; accepted is a list of names"),
        ({"tasks": "mmlu"}, "tasks='mmlu'; accepted is a list of names"),
        ({"tasks": ["mmlu"], "limit": 0}, "limit=0 must be at least 1"),
        ({"tasks": ["mmlu"], "num_fewshot": -1}, "num_fewshot=-1 at least 0"),
        ({"tasks": ["mmlu"], "batch_size": 0}, "batch_size=0"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LMEvaluation(**options)
