"""What loggers receive: every key, on an axis of optimizer steps."""

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import kit
from unlearn_pl.callbacks import SavePredictions, SavePretrained
from unlearn_pl.cli import main
from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.modules import GradDiff

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "experiments" / "debug" / "mollm.yaml"
LOGGING = ROOT / "docs" / "logging.md"
STEPS_PER_EPOCH = 3  # 10 forget questions, 4 to a step; 2 micro-batches each
OBJECTIVES = ("forget", "normal", "retain")
TRAIN_KEYS = {
    *(f"train/{key}/{name}" for key in ("loss", "weight", "grad_norm", "descent") for name in OBJECTIVES),
    *(f"train/cosine/{pair}" for pair in ("forget-normal", "forget-retain", "normal-retain")),
    "train/stationarity",
    "train/skipped/nonfinite",
    "train/skipped/stationary",
}
VAL_KEYS = {f"val/tofu/{split}_probability" for split in ("forget", "retain", "real_authors", "world_facts")}

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),  # see test_cli.py
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:forget_quality is not computed"),
]


@pytest.fixture(autouse=True)
def _keep_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # seed_everything sets it; restored afterwards
    monkeypatch.chdir(tmp_path)


def test_the_steps_of_csv_files_are_optimizer_steps(tmp_path):
    main(["fit", "-c", str(RECIPE), f"--trainer.default_root_dir={tmp_path}"])
    with (tmp_path / "logs" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0].keys() >= TRAIN_KEYS | VAL_KEYS
    steps = {key: [int(row["step"]) for row in rows if row[key]] for key in rows[0]}
    for key in TRAIN_KEYS:
        assert steps[key] == list(range(1, 2 * STEPS_PER_EPOCH + 1)), key
    for key in VAL_KEYS:
        assert steps[key] == [STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH], key


def test_tensorboard_takes_one_flag(tmp_path):
    short = ["--trainer.max_steps=1", "--trainer.limit_val_batches=0", "--trainer.default_root_dir=root"]
    main(["fit", "-c", str(RECIPE), *short, "--tensorboard=true"])
    written = {path.name.split(".")[0] for path in Path("root/logs/version_0").iterdir()}
    assert {"metrics", "events"} <= written


def read_offline_run(path: Path):
    """Records of a ``.wandb`` file: a LevelDB log of protobuf messages in blocks of 32 KiB."""
    from wandb.proto import wandb_internal_pb2

    content, position, message = path.read_bytes(), 7, b""  # the file's own header has 7 bytes
    while position + 7 <= len(content):
        if (left := 32768 - position % 32768) < 7:  # no header fits: padding up to the next block
            position += left
            continue
        length, kind = int.from_bytes(content[position + 4 : position + 6], "little"), content[position + 6]
        message += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole message, or its last part
            yield wandb_internal_pb2.Record.FromString(message)
            message = b""


def value(item) -> tuple[str, object]:
    return item.key or "/".join(item.nested_key), json.loads(item.value_json)


@dataclass
class WandbRun:
    """What the only offline run in a folder holds.

    Attributes:
        history: rows of the curves.
        config: the configuration.
        summary: the last value of every key.
        artifacts: the records of the artifacts.
        files: the folder with the tables.
    """

    history: list[dict[str, object]]
    config: dict[str, object]
    summary: dict[str, object]
    artifacts: list
    files: Path

    def steps(self, key: str) -> list[int]:
        return [int(row["trainer/global_step"]) for row in self.history if key in row]

    def history_of(self, key: str) -> list[object]:
        return [row[key] for row in self.history if key in row]

    def table(self, key: str) -> tuple[list[str], list[list[object]]]:
        """Columns and rows of the only table of that name."""
        items = [item for row in self.history for item in row.items()]
        entry = {name.removeprefix(f"{key}/"): found for name, found in items if name.startswith(f"{key}/")}
        table = json.loads((self.files / str(entry["path"])).read_text())
        return table["columns"], table["data"]


def wandb_run(folder: Path) -> WandbRun:
    """The only offline run in ``folder``, read back from its file."""
    [file] = folder.glob("wandb/offline-run-*/*.wandb")
    run = WandbRun([], {}, {}, [], file.parent / "files")
    for record in read_offline_run(file):
        match record.WhichOneof("record_type"):
            case "history":
                run.history.append(dict(value(item) for item in record.history.item))
                run.summary |= run.history[-1]  # as the server does
            case "run":
                run.config |= dict(value(item) for item in record.run.config.update)
            case "config":
                run.config |= dict(value(item) for item in record.config.update)
            case "summary":
                run.summary |= dict(value(item) for item in record.summary.update)
            case "artifact":
                run.artifacts.append(record.artifact)
            case "request" if record.request.WhichOneof("request_type") == "log_artifact":
                run.artifacts.append(record.request.log_artifact.artifact)
    return run


def end() -> None:
    """End the run, and the service behind it: ``finish`` alone returns before the file is complete."""
    import wandb

    wandb.finish()
    wandb.teardown()


CALLBACKS = [
    {"class_path": "TOFUEvaluation"},
    {"class_path": "ConflictMonitor", "init_args": {"every_n_steps": 1}},
    {"class_path": "BackwardPasses"},
    {"class_path": "SavePredictions", "init_args": {"in_test": True, "log_table": True}},
    {"class_path": "SavePretrained", "init_args": {"log_artifact": True}},
]


def with_wandb(tmp_path: Path, folder: str) -> list[str]:
    (tmp_path / folder).mkdir()
    logger = {"class_path": "WandbLogger", "init_args": {"offline": True, "save_dir": folder}}
    options = [f"--trainer.logger={json.dumps(logger)}", f"--trainer.callbacks={json.dumps(CALLBACKS)}"]
    return ["-c", str(RECIPE), "--trainer.default_root_dir=root", "--trainer.num_sanity_val_steps=-1", *options]


def promised() -> list[str]:
    """Regular expressions for the training keys that docs/logging.md promises for the run with these callbacks."""
    always = ("always", "with a gradient per objective", "by `ConflictMonitor`", "by `BackwardPasses`")
    rows = re.findall(r"^\| `(train/[^`]+)` \|.*\| ([^|]+) \|$", LOGGING.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) > 12
    return [re.sub(r"\\{\w+\\}", r"[\\w.-]+", re.escape(key)) for key, when in rows if when.startswith(always)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # wandb's own
def test_weights_and_biases_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))
    main(["fit", *with_wandb(tmp_path, "fitted")])
    end()
    run = wandb_run(tmp_path / "fitted")
    logged = {key for row in run.history for key in row}
    for pattern in promised():
        keys = [key for key in logged if re.fullmatch(pattern, key)]
        assert keys, pattern
        for key in keys:
            assert run.steps(key) == list(range(1, 2 * STEPS_PER_EPOCH + 1)), key
    assert logged >= TRAIN_KEYS | VAL_KEYS
    for key in VAL_KEYS:
        assert run.steps(key) == [STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH], key
    combiner = run.config["config"]["model"]["init_args"]["combiner"]
    assert combiner["init_args"]["weight_ema"] == 0.0  # resolved, not as given
    assert run.config["config"]["data"]["init_args"]["batch_size"] == 4
    for key in VAL_KEYS:
        name = key.removeprefix("val/")
        assert run.summary[f"after/{name}"] == run.history_of(key)[-1]
        assert 0 <= run.summary[f"before/{name}"] <= 1
    assert run.summary["cost/steps"] == 2 * STEPS_PER_EPOCH
    assert run.summary["cost/seconds"] > 0
    [artifact] = run.artifacts
    assert artifact.type == "model"
    fingerprint = json.loads(artifact.metadata)["weights_fingerprint"]
    written = {path.name for path in (tmp_path / "root" / "hf").iterdir()}
    assert {entry.path for entry in artifact.manifest.contents} == written
    # What is forgotten stays on this machine, unless a table of answers is asked for.
    assert_private(tmp_path / "fitted")

    main(["test", *with_wandb(tmp_path, "tested"), "--ckpt_path=last"])
    end()
    run = wandb_run(tmp_path / "tested")
    results = json.loads((tmp_path / "root" / "results.json").read_text())
    assert results["weights_fingerprint"] == fingerprint
    columns, rows = run.table("test/tofu")
    assert columns == ["metric", "value"]
    assert dict(rows) == pytest.approx(results["metrics"])
    for name, number in results["metrics"].items():
        assert run.summary[f"test/tofu/{name}"] == pytest.approx(number)
    columns, rows = run.table("test/answers")
    assert columns == ["split", "index", "question", "answer", "prediction"]
    lines = [json.loads(line) for line in (tmp_path / "root" / "predictions.jsonl").read_text().splitlines()]
    assert [dict(zip(columns, row, strict=True)) for row in rows] == lines
    assert {line["split"] for line in lines} == {"forget", "retain", "real_authors", "world_facts"}


def forget_texts() -> list[str]:
    data = SyntheticAuthorsDataModule(
        None, forget_authors=1, retain_authors=1, holdout_authors=1, general_facts=2, vocab_size=512
    )
    rows = list(data.load_streams()["forget"])
    assert rows
    return [row[name] for row in rows for name in ("question", "answer")]


def assert_private(folder: Path) -> None:
    """No text of the forget set is in any file."""
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [text for text in forget_texts() if len(text) > 20 and text.encode() in content], path


@pytest.mark.parametrize(
    ("callback", "stage"),
    [(SavePretrained(log_artifact=True), "fit"), (SavePredictions(in_test=True, log_table=True), "test")],
)
def test_what_weights_and_biases_should_keep_needs_its_logger(callback, stage):
    trainer = kit.trainer(callbacks=[callback], max_steps=1)
    with pytest.raises(ValueError, match=r"=True\) needs a WandbLogger; the loggers of the Trainer are \[\]"):
        getattr(trainer, stage)(GradDiff(kit.model()), kit.Questions(batch_size=8))
