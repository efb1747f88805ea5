"""What loggers receive: every key, on an axis of optimizer steps."""

import csv
import json
from pathlib import Path

import pytest

from unlearn_pl.cli import main

RECIPE = Path(__file__).parents[1] / "experiments" / "debug" / "mollm.yaml"
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


def wandb_run(folder: Path):
    """History rows and configuration of the only offline run in ``folder``."""
    [file] = folder.glob("wandb/offline-run-*/*.wandb")
    history, config = [], {}
    for record in read_offline_run(file):
        match record.WhichOneof("record_type"):
            case "history":
                history.append(dict(value(item) for item in record.history.item))
            case "run":
                config |= dict(value(item) for item in record.run.config.update)
            case "config":
                config |= dict(value(item) for item in record.config.update)
    return history, config


def end() -> None:
    """End the run, and the service behind it: ``finish`` alone returns before the file is complete."""
    import wandb

    wandb.finish()
    wandb.teardown()


def with_wandb(tmp_path: Path, folder: str) -> list[str]:
    (tmp_path / folder).mkdir()
    logger = {"class_path": "WandbLogger", "init_args": {"offline": True, "save_dir": folder}}
    return ["-c", str(RECIPE), "--trainer.default_root_dir=root", f"--trainer.logger={json.dumps(logger)}"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # wandb's own
def test_weights_and_biases_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    main(["fit", *with_wandb(tmp_path, "fitted")])
    end()
    history, config = wandb_run(tmp_path / "fitted")
    seen = {key: [int(row["trainer/global_step"]) for row in history if key in row] for row in history for key in row}
    for key in TRAIN_KEYS:
        assert seen[key] == list(range(1, 2 * STEPS_PER_EPOCH + 1)), key
    for key in VAL_KEYS:
        assert seen[key] == [STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH], key
    combiner = config["config"]["model"]["init_args"]["combiner"]
    assert combiner["init_args"]["weight_ema"] == 0.0  # resolved, not as given
    assert config["config"]["data"]["init_args"]["batch_size"] == 4

    main(["test", *with_wandb(tmp_path, "tested"), "--ckpt_path=last"])
    end()
    history, _ = wandb_run(tmp_path / "tested")
    assert [row["test/tofu/_type"] for row in history if "test/tofu/_type" in row] == ["table-file"]
    assert any("test/tofu/model_utility" in row for row in history)
    assert (tmp_path / "root" / "results.json").exists()
