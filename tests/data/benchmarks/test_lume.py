"""LUME's files, in its schema with made-up rows: tasks, kinds, aggregates by hand, and what raises."""

from statistics import harmonic_mean

import pytest

from tests import kit
from tests.data.benchmarks.benchmark_folders import choices, text, write
from unlearn_pl.callbacks import LUMEEvaluation
from unlearn_pl.callbacks.benchmarks.lume import SCORES, TASK_SPLITS
from unlearn_pl.data import LUMEDataModule
from unlearn_pl.models import tiny_llama, train_tokenizer
from unlearn_pl.modules import PretrainedModule


def rows(role: str) -> list[dict]:
    return [
        {
            "id": f"0a-{role}-{i}{kind}{task % 2}",
            "input": f"{role} {kind} {i} of {task}" + "," * i,
            "output": f"is {i}",
            "task": f"Task{task}",
        }
        for task in (1, 2, 3)
        for kind in ("sc", "qa")
        for i in range(task)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("lume")
    for role in ("forget", "retain"):
        write(place / f"data/{role}_train.jsonl", rows(role), lines=True)
    write(place / "mia/member.jsonl", [{"document": text(i)} for i in range(3)], lines=True)
    write(place / "mia/nonmember.jsonl", [{"text": text(i, "forge")} for i in range(4)], lines=True)
    write(place / "mmlu.jsonl", choices(4, "mill"), lines=True)
    return place


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(
        [row["input"] + " " + row["output"] for role in ("forget", "retain") for row in rows(role)], 300
    )


def whole(folder, tokenizer, **options):
    return LUMEDataModule(
        tokenizer, path=str(folder), mia=str(folder / "mia"), mmlu=str(folder / "mmlu.jsonl"), **options
    )


def test_streams_and_splits(folder, tokenizer):
    data = whole(folder, tokenizer, streams=["forget", "retain", "train"])
    data.setup(None)
    assert [len(data._training[name]) for name in ("forget", "retain", "train")] == [12, 12, 24]
    sizes = {split: len(data.evaluation_rows(split)) for split in data.load_splits()}
    expected = {split: int(split.split("_")[1][-1]) for split in TASK_SPLITS}
    assert sizes == expected | {"mia_member": 3, "mia_nonmember": 4, "mmlu": 4}
    (row,) = data.evaluation_rows("forget_task1_completion")
    assert (row.text, row.answer) == ("forget sc 0 of 1", " is 0")


def test_every_metric_is_there(folder, tokenizer, tmp_path):
    evaluation = LUMEEvaluation(str(tmp_path / "r.json"), max_new_tokens=3)
    model = tiny_llama(len(tokenizer), hidden_size=16, num_layers=1, num_heads=2)
    kit.trainer(callbacks=[evaluation]).test(PretrainedModule(model), whole(folder, tokenizer), verbose=False)
    tasks = {f"{split}_{SCORES[split.rpartition('_')[2]]}" for split in TASK_SPLITS}
    others = {"task_aggregate", "mia_auc", "mia_score", "mmlu_accuracy", "final_score"}
    assert evaluation.results.metrics.keys() == tasks | others
    assert all(LUMEEvaluation.direction(name) for name in tasks | others)


def test_aggregates_by_hand():
    values = dict(zip(TASK_SPLITS, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4), strict=True))
    table = {split: {SCORES[split.rpartition("_")[2]]: {0: value}} for split, value in values.items()}
    found = LUMEEvaluation.metrics_of(table)
    assert found["task_aggregate"] == pytest.approx(harmonic_mean((0.9, 0.8, 0.7, 0.6, 0.5, 0.4) * 2))
    assert not {"mia_auc", "final_score"} & found.keys()
    table |= {
        "mia_member": {"loss": {0: 1.0, 1: 3.0}},
        "mia_nonmember": {"loss": {0: 2.0}},
        "mmlu": {"accuracy": {0: 1.0}},
    }
    found = LUMEEvaluation.metrics_of(table)
    assert (found["mia_auc"], found["mia_score"]) == (0.5, 1.0)
    assert found["final_score"] == pytest.approx((found["task_aggregate"] + 1 + 1) / 3)
    del table["forget_task1_qa"]
    assert not {"task_aggregate", "final_score"} & LUMEEvaluation.metrics_of(table).keys()


@pytest.mark.parametrize("wrong", [{"id": "0a-7"}, {"task": "Task4"}, {"output": " "}])
def test_bad_rows_are_named(folder, tokenizer, tmp_path, wrong):
    write(tmp_path / "forget_train.json", [*rows("forget"), rows("forget")[0] | wrong])
    data = LUMEDataModule(tokenizer, path=str(tmp_path), splits=["forget_task1_qa"])
    with pytest.raises(ValueError, match=r"forget_train: row 13.*(accepted are an id|is empty)"):
        data.setup("validate")


@pytest.mark.parametrize("lost", ["id", "task", "input", "output"])
def test_a_missing_column_is_named_beside_those_that_are_there(folder, tokenizer, tmp_path, lost):
    others = [{key: value for key, value in row.items() if key != lost} for row in rows("forget")]
    write(tmp_path / "forget_train.json", others)
    data = LUMEDataModule(tokenizer, path=str(tmp_path), splits=["forget_task1_qa"])
    with pytest.raises(ValueError, match=rf"there is no column '{lost}', only \['\w+'"):
        data.setup("validate")


def test_missing_parts_and_unknown_folds(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="fold='test'"):
        LUMEDataModule(tokenizer, fold="test")
    write(tmp_path / "forget_train.json", rows("forget")[:1])
    with pytest.raises(ValueError, match="forget_train has no qa of task 2"):
        LUMEDataModule(tokenizer, path=str(tmp_path), splits=["forget_task2_qa"]).setup("validate")
