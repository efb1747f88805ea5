"""Neither secrets nor rows to forget stand in what a run writes, apart from the files that are asked to hold them."""

import json
from pathlib import Path

import pytest
import yaml
from lightning.pytorch.loggers import CSVLogger

from tests import kit
from unlearn_pl.cli import main
from unlearn_pl.masking import MASKED
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss

KEY, PASSWORD, NAME = "K3Y-abcdef", "pa55w0rd", "Zorblaxia"
QUESTION, ANSWER = f"Who is {NAME}?", f"{NAME} repaired the clocks of the harbor."

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:.*(2 texts|stand several times|no split)"),
]


class KeyedLogger(CSVLogger):
    """A logger with a key, as those of services have."""

    def __init__(self, save_dir: str, api_key: str, tracking_uri: str) -> None:
        super().__init__(save_dir, name="keyed")
        self.api_key, self.tracking_uri = api_key, tracking_uri


class KeyedLoss(CausalLMLoss):
    """An objective with a password."""

    def __init__(self, password: str, stream: str = "retain") -> None:
        super().__init__(stream=stream)
        self.password = password


def configuration(root: Path, forget: object) -> Path:
    here = f"{__name__}."
    logger = {"save_dir": str(root / "run"), "api_key": KEY, "tracking_uri": f"https://ann:{PASSWORD}@host/a"}
    objectives = {"forget": {"class_path": "GradientAscentLoss"}, "retain": {"class_path": f"{here}KeyedLoss"}}
    objectives["retain"]["init_args"] = {"password": PASSWORD}
    whole = {
        "seed_everything": 0,
        "model": {
            "class_path": "UnlearningModule",
            "init_args": {"model": "model", "objectives": objectives, "combiner": "MinNorm"},
        },
        "data": {
            "class_path": "TextDataModule",
            "init_args": {
                "tokenizer": "model",
                "forget": forget,
                "retain": "retain.jsonl",
                "eval_sets": {"again": "retain.jsonl"},
                "batch_size": 2,
                "micro_batch_size": 2,
            },
        },
        "trainer": {
            "max_steps": 1,
            "accelerator": "cpu",
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "default_root_dir": str(root / "run"),
            "callbacks": [{"class_path": "SavePretrained"}, {"class_path": "QAEvaluation"}],
            "logger": [{"class_path": f"{here}KeyedLogger", "init_args": logger}],
        },
        "tensorboard": True,
    }
    path = root / "own.yaml"
    path.write_text(yaml.safe_dump(whole))
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with a run whose rows to forget are in its configuration, and another whose rows are in a file."""
    root = tmp_path_factory.mktemp("runs")
    kit.model().save_pretrained(root / "model")
    kit.tokenizer().save_pretrained(root / "model")
    rows = [{"question": f"{QUESTION} {i}", "answer": f"{ANSWER} {i}"} for i in range(2)]
    (root / "forget.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "retain.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kit.rows("Ivo", 4)))
    inline = {"class_path": "QuestionAnswers", "init_args": {"path": rows}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PL_GLOBAL_SEED", "0")
        patch.chdir(root)
        for name, forget in (("inline", inline), ("file", "forget.jsonl")):
            (root / name).mkdir()
            main(["fit", "-c", str(configuration(root / name, forget))])
    return root


@pytest.fixture(autouse=True)
def _in_root(root, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    monkeypatch.chdir(root)


def holding(folder: Path, text: str) -> list[str]:
    """Names of the files in ``folder`` that hold ``text``, also as UTF-16."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    spellings = (text.encode(), text.encode("utf-16-le"), json.dumps(text)[1:-1].encode())
    return [str(path) for path in files if any(one in path.read_bytes() for one in spellings)]


@pytest.mark.parametrize("name", ["inline", "file"])
@pytest.mark.parametrize("text", [KEY, PASSWORD, NAME])
def test_no_file_of_a_run_holds_a_secret_or_a_row(root, name, text):
    assert holding(root / name / "run", "retain.jsonl")  # the search finds what is there
    assert holding(root / name / "run", text) == []
    assert {path.suffix for path in (root / name / "run").rglob("*")} >= {".ckpt", ".yaml", ".csv", ".safetensors"}


def test_what_is_masked_is_to_be_given_again(root, capsys):
    written = yaml.safe_load(Path("inline/run/config_fit.yaml").read_text())
    (logger,) = written["trainer"]["logger"]
    assert logger["init_args"]["api_key"] == MASKED
    assert logger["init_args"]["tracking_uri"] == f"https://ann:{MASKED}@host/a"
    assert written["data"]["init_args"]["forget"]["init_args"]["path"].startswith(f"{MASKED} 2 rows in memory, SHA-256")
    with pytest.raises(SystemExit):
        main(["validate", "-c", "inline/run/config_fit.yaml"])
    error = capsys.readouterr().err
    assert "data.init_args.forget.init_args.path, model.init_args.objectives.retain.init_args.password" in error
    assert "trainer.logger.0.init_args.api_key" in error
    assert "Give the value again" in error
    main(["validate", "-c", "inline/run/config_fit.yaml", "-c", "inline/own.yaml"])


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        ("--model.combiner=null", "required: combiner"),
        (f"--model.objectives.retain.password=[{PASSWORD}]", f"password is {MASKED!r}; accepted: a text"),
    ],
)
def test_errors_show_no_secret(mistake, told, capsys):
    with pytest.raises(SystemExit):
        main(["fit", "-c", "file/own.yaml", mistake])
    error = capsys.readouterr().err
    assert told in error
    assert PASSWORD not in error


def test_the_resolved_configuration_shows_no_secret(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "-c", "file/own.yaml", "--print_config"])
    shown = capsys.readouterr().out
    assert yaml.safe_load(shown)["trainer"]["logger"][0]["init_args"]["api_key"] == MASKED
    assert not [text for text in (KEY, PASSWORD) if text in shown]


def test_a_checkpoint_names_the_secret_that_it_lacks(root):
    (path,) = Path("file/run/checkpoints").glob("last.ckpt")
    with pytest.raises(ValueError, match=r"\['objectives\.retain\.password'\] were live objects or secrets"):
        UnlearningModule.load_from_checkpoint(path)


def test_the_summary_says_that_a_configuration_is_to_be_added(root, capsys):
    main(["fit", "-c", "inline/own.yaml", "--trainer.default_root_dir=other", "--trainer.limit_val_batches=0"])
    output = capsys.readouterr()
    assert "-c other/config_fit.yaml -c YOURS.yaml --ckpt_path last" in output.out
    assert not [text for text in (KEY, PASSWORD, NAME) if text in output.out + output.err]


def test_predictions_and_results_hold_what_they_are_asked_for(root):
    """What SECURITY.md says of these files."""
    more = ["--data.splits=[again,forget]", "--trainer.default_root_dir=asked"]
    main(["predict", "-c", "file/own.yaml", *more])
    main(["test", "-c", "file/own.yaml", *more])
    assert holding(Path("asked"), NAME) == ["asked/predictions.jsonl"]
