"""Rows in memory train like files, and no checkpoint and no record holds them."""

import json

import datasets
import pandas as pd
import pytest
import torch

from tests import kit
from unlearn_pl.callbacks import TOFUEvaluation
from unlearn_pl.data import Completions, Documents, QuestionAnswers, Request, SequentialRequests, TextDataModule
from unlearn_pl.modules import GradDiff
from unlearn_pl.recording import UNRECORDABLE, record

FORGET, RETAIN = kit.rows("Oda", 8), kit.rows("Ivo", 8)
SECRET = "Oda"


@pytest.fixture
def folder(tmp_path):
    """A model and its tokenizer."""
    kit.model().save_pretrained(tmp_path / "model")
    kit.tokenizer().save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def made(forget, folder=None, **options) -> TextDataModule:
    return TextDataModule(
        folder or kit.tokenizer(), forget=forget, batch_size=4, micro_batch_size=4, **({"retain": RETAIN} | options)
    )


@pytest.mark.filterwarnings("ignore:model_utility is not computed", "ignore:privleak compares with chance")
def test_a_run_leaves_no_row_behind_and_resumes(folder, tmp_path):
    data = made(FORGET, folder, holdout=FORGET[3:5], eval_sets={"more": FORGET[:3]})
    trainer = kit.trainer(max_steps=2, limit_val_batches=None, callbacks=[TOFUEvaluation()], default_root_dir=tmp_path)
    trainer.fit(GradDiff(folder), data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")

    hyperparameters = torch.load(tmp_path / "a.ckpt", weights_only=True)["datamodule_hyper_parameters"]
    assert SECRET not in json.dumps(hyperparameters)
    assert SECRET.encode() not in (tmp_path / "a.ckpt").read_bytes()
    assert hyperparameters["forget"][UNRECORDABLE].startswith("8 rows in memory, SHA-256 ")
    assert hyperparameters["holdout"][UNRECORDABLE].startswith("2 rows in memory, SHA-256 ")
    assert hyperparameters["eval_sets"]["more"][UNRECORDABLE].startswith("3 rows in memory, SHA-256 ")
    trainer.test(trainer.model, data, weights_only=True)
    (results,) = tmp_path.rglob("results.json")
    config = json.loads(results.read_text())["config"]
    assert SECRET not in json.dumps(config)
    assert config["data"]["init_args"]["forget"] == hyperparameters["forget"]

    resumed = kit.trainer(max_steps=4)
    resumed.fit(GradDiff(folder), data, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert resumed.global_step == 4
    module = GradDiff.load_from_checkpoint(tmp_path / "a.ckpt")
    assert all(map(torch.equal, module.model.state_dict().values(), trainer.model.model.state_dict().values()))

    kept = r"\['forget', 'retain', 'holdout', 'eval_sets.more'\]"
    missing = rf"TextDataModule whose {kept} were live.*\(path, forget=\.\.\., retain"
    with pytest.raises(ValueError, match=missing):
        TextDataModule.load_from_checkpoint(tmp_path / "a.ckpt")
    given = {"forget": FORGET, "retain": RETAIN, "holdout": None, "eval_sets": {}}
    again = TextDataModule.load_from_checkpoint(tmp_path / "a.ckpt", **given)
    assert (again.forget, again.batch_size) == (FORGET, 4)


CONTAINERS = {
    "list": FORGET,
    "tuple": tuple(FORGET),
    "dataset": datasets.Dataset.from_list(FORGET),
    "split": datasets.DatasetDict(train=datasets.Dataset.from_list(FORGET)),
    "frame": pd.DataFrame(FORGET),
    "columns": {name: [row[name] for row in FORGET] for name in FORGET[0]},
    "source": QuestionAnswers(FORGET),
    "documents": Documents([row["answer"] for row in FORGET]),
    "completions": Completions(FORGET, "question", "answer"),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_record_holds_the_number_of_rows(container):
    data = made(CONTAINERS[container])
    for recorded in (record(data), dict(data.hparams)):
        assert SECRET not in json.dumps(recorded)
        assert "8 rows in memory, SHA-256 " in json.dumps(recorded)


def test_the_fingerprint_is_that_of_the_rows():
    assert record(made(FORGET)) == record(made(tuple(map(dict, FORGET)))) == record(made(pd.DataFrame(FORGET)))
    assert record(made(FORGET)) != record(made([*FORGET[:7], {**FORGET[7], "answer": "No idea."}]))


def test_requests_keep_no_rows():
    requests = [Request(id="a", forget=FORGET[:4]), Request(id="b", forget=iter(FORGET[4:]))]
    data = SequentialRequests(made(FORGET, streams=["forget", "retain"]), requests)
    assert SECRET not in json.dumps(record(data))
    assert SECRET not in json.dumps(dict(data.hparams))
    recorded = record(data)["init_args"]["requests"]
    assert [request["id"] for request in recorded] == ["a", "b"]
    assert recorded[0]["forget"][UNRECORDABLE].startswith("4 rows in memory")
    assert [each.requested_rows()[0] for each in (data.at("a"), data)] == [4, 4]


@pytest.mark.parametrize(
    "make",
    [
        lambda: (row for row in FORGET),
        lambda: datasets.IterableDataset.from_generator(lambda: iter(FORGET)),
        lambda: datasets.DatasetDict(train=datasets.Dataset.from_list(FORGET)),
        lambda: pd.DataFrame(FORGET),
    ],
)
def test_every_stream_and_split_has_the_rows(make):
    data = made(make(), streams=["forget", "forget.alternate", "train"])
    expected = made(FORGET, streams=["forget", "forget.alternate", "train"])
    for each in (data, expected):
        each.setup("fit")
        each.setup("validate")
    for stream in data.streams:
        assert data.training_examples(stream, None) == expected.training_examples(stream, None)
    assert len(data.val_dataloader()["forget"].dataset) == 8


def test_several_splits_are_named():
    rows = datasets.Dataset.from_list(FORGET)
    with pytest.raises(ValueError, match=r"DatasetDict has the splits \['test', 'train'\]; accepted is one of them"):
        made(datasets.DatasetDict(train=rows, test=rows))
