from pathlib import Path

import lightning.pytorch as pl
import pytest
import yaml
from jsonargparse import Namespace

from tests.modules.checkpoints.test_folder_lock import held
from unlearn_pl.cli import main
from unlearn_pl.commands.requests import evaluated, on_model
from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.models import save_pretrained, tiny_llama
from unlearn_pl.results import read_results, read_trail

RECIPE = Path(__file__).parents[2] / "experiments" / "sequential" / "mollm.yaml"
IDS = ["author-0", "author-1", "author-2"]

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),  # see test_cli.py
    pytest.mark.filterwarnings("ignore:(forget_quality|model_utility) is not computed"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),  # the same request again
]


class Fails(pl.Callback):
    """Stops the whole run at one request, before it is fitted or before it is tested."""

    def __init__(self, request: str, stage: str) -> None:
        self.at = request, stage

    def setup(self, trainer, pl_module, stage) -> None:
        if (trainer.datamodule.request, stage) == self.at:
            raise InterruptedError


@pytest.fixture
def requests(tmp_path, monkeypatch):
    """Runs ``unlearn-pl requests`` on a tiny model with random weights."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # seed_everything sets it; restored afterwards
    monkeypatch.chdir(tmp_path)
    sizes = {"forget_authors": 3, "retain_authors": 1, "holdout_authors": 1, "general_facts": 2, "vocab_size": 300}
    tokenizer = SyntheticAuthorsDataModule(**sizes).tokenizer
    save_pretrained(tiny_llama(len(tokenizer), hidden_size=16, num_layers=1, num_heads=2), "target")

    def run(*args: str, root: str = "runs/sequential") -> None:
        small = [f"--data.data.{name}={size}" for name, size in sizes.items()]
        quiet = ["enable_progress_bar=false", "enable_model_summary=false", "limit_val_batches=0", "max_epochs=2"]
        data = ["--data.data.splits=[forget]", "--data.data.max_eval_examples=2"]
        model = ["--model.model=target", "--model.max_new_tokens=2"]
        places = [f"--trainer.default_root_dir={root}", f"--trainer.callbacks.path={root}/trail.jsonl"]
        trainer = [f"--trainer.{option}" for option in quiet]
        # The audit trail is the last callback of the recipe, the one that `callbacks.path` is about.
        main(["requests", "-c", str(RECIPE), *places, *small, *data, *model, *trainer, *args])

    return run


def entries(root: str) -> list[tuple[str, str]]:
    return [(entry["request"], entry["event"]) for entry in read_trail(f"{root}/trail.jsonl")]


def test_an_interrupted_run_goes_on_and_ends_like_another_one(requests, capsys):
    def interrupted(request: str, stage: str) -> None:
        with pytest.raises(InterruptedError):
            requests(
                f"--trainer.callbacks+={__name__}.Fails",
                f"--trainer.callbacks.request={request}",
                f"--trainer.callbacks.stage={stage}",
            )

    interrupted("author-1", "test")
    assert entries("runs/sequential") == [
        ("author-0", "forgotten"),
        ("author-0", "evaluated"),
        ("author-1", "forgotten"),
    ]
    interrupted("author-2", "fit")
    assert entries("runs/sequential")[3:] == [("author-1", "evaluated")]
    requests()
    assert entries("runs/sequential")[4:] == [("author-2", "forgotten"), ("author-2", "evaluated")]
    capsys.readouterr()
    requests()
    assert len(entries("runs/sequential")) == 6
    assert "requests/" not in capsys.readouterr().out

    requests(root="runs/whole")
    mine, whole = (read_trail(f"runs/{name}/trail.jsonl") for name in ("sequential", "whole"))
    for one, other in zip(mine, whole, strict=True):
        for key in ("request", "event", "asked", "weights_before", "weights_after", "rows_sha256", "metrics"):
            assert one.get(key) == other.get(key)
    assert mine[0]["asked"] == "2026-01-05"
    assert [entry["model"] for entry in mine[::2]] == [f"runs/sequential/{request}/hf" for request in IDS]
    for i, request in enumerate(IDS):
        folder = Path("runs/sequential", request)
        fitted, tested = (yaml.safe_load((folder / f"config_{stage}.yaml").read_text()) for stage in ("fit", "test"))
        assert fitted["data"]["init_args"]["request"] == request
        assert fitted["model"]["init_args"]["model"] == (f"runs/sequential/{IDS[i - 1]}/hf" if i else "target")
        assert fitted["seed_everything"] == 0
        assert tested["model"]["init_args"] == {"model": str(folder / "hf"), "max_new_tokens": 2}
        results = read_results(folder / "results_requests.json")
        assert {f"{each}_probability" for each in IDS[: i + 1]} <= set(results.metrics)
        assert (folder / "checkpoints" / "last.ckpt").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--trainer.callbacks=[]"], "has 0 AuditTrail and 0 SavePretrained; `unlearn-pl requests` needs one of each"),
        (["--ckpt_path=target"], "--ckpt_path target: `unlearn-pl requests` resumes by itself"),
        (["--trainer.fast_dev_run=true"], "fast_dev_run leaves no model for the next request"),
        (["--trainer.callbacks+=SavePretrained"], "1 AuditTrail and 2 SavePretrained"),
        (
            ["--data=SyntheticAuthorsDataModule"],
            "data is a SyntheticAuthorsDataModule; `unlearn-pl requests` needs Seq",
        ),
    ],
)
def test_what_cannot_be_carried_out_is_refused(requests, args, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        requests(*args)
    assert exit_.value.code == 1
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_the_next_model_takes_the_place_of_the_name_alone():
    spec = Namespace(class_path="unlearn_pl.models.CausalLM", init_args=Namespace(name="first", lora="adapters"))
    method = Namespace(class_path="NPO", init_args=Namespace(model=spec, beta=0.1))

    changed = on_model(method, "second")

    assert (changed.init_args.model.init_args.name, changed.init_args.model.init_args.lora) == ("second", "adapters")
    assert changed.init_args.beta == 0.1
    assert method.init_args.model.init_args.name == "first"
    assert (
        on_model(Namespace(class_path="NPO", init_args=Namespace(model="first")), "second").init_args.model == "second"
    )
    assert evaluated(method, "second").init_args.as_dict() == {"model": "second"}


def test_two_processes_carry_out_no_requests_in_one_folder(requests, capsys):
    with held(Path("runs/sequential/.requests.lock")):
        with pytest.raises(SystemExit):
            requests()
        assert "Another `unlearn-pl requests` runs in" in capsys.readouterr().err
    assert not Path("runs/sequential/trail.jsonl").exists()
