"""What ``fit`` says at its end, and about a folder that holds another run."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests import kit
from unlearn_pl.cli import main
from unlearn_pl.commands.attack import attack_parser
from unlearn_pl.commands.run.summary import chosen_metrics
from unlearn_pl.models import save_pretrained
from unlearn_pl.results import read_results

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),  # see test_cli.py
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:.* of the .* rows of"),  # the made-up rows resemble each other
]
SMALL = ["-c", "text/mollm", "--data.forget=forget.jsonl", "--data.retain=retain.jsonl", "--model.model=model"]
SMALL += ["--trainer.precision=32-true", "--trainer.accelerator=cpu", "--trainer.max_epochs=1", "--data.batch_size=4"]
SMALL += ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--model.max_new_tokens=2"]
SMALL += ["--trainer.default_root_dir=mine", "--data.max_eval_examples=2", "--data.warn_of_duplicates=false"]
SMALL += ["--model.optimizer.lr=1e-2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's own model and rows, and one finished run in ``mine``; its output in ``mine/printed``."""
    folder = tmp_path_factory.mktemp("user")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PL_GLOBAL_SEED", "0")  # seed_everything sets it; restored with the context
        patch.chdir(folder)
        for name, count in (("forget", 6), ("retain", 8)):
            Path(f"{name}.jsonl").write_text("\n".join(map(json.dumps, kit.rows(name.title(), count))))
        save_pretrained(kit.model(), "model", kit.tokenizer())
        yield folder


@pytest.fixture(scope="module")
def printed(folder):
    """What the first run prints on standard output."""
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as output:
        main(["fit", *SMALL])
    return output.getvalue()


def test_before_and_after_are_listed(printed):
    rows = dict(re.findall(r"^qa/(\w+) +(\S+ +\S+)$", printed, re.MULTILINE))
    assert list(rows)[:2] == ["forget_probability", "retain_probability"]
    before, after = map(float, rows["forget_probability"].split())
    assert before != after
    assert 0 < after < 1
    table = printed.partition("Next:")[0]  # commands are as long as the names of files
    assert max(map(len, table.splitlines())) <= 80


def test_what_was_written_is_there(printed):
    listed = re.findall(r"^  (mine/\S+)  ", printed, re.MULTILINE)
    assert {Path(path).name for path in listed} == {"hf", "last.ckpt", "config_fit.yaml", "metrics.csv"}
    assert all(Path(path).exists() for path in listed)
    assert "reloads to the same logits" in printed
    assert r"Prompt format: 'Question: QUESTION\nAnswer:'" in printed


def test_the_next_command_runs_and_results_of_two_models_stay_apart(printed, capsys):
    command, attack = re.findall(r"^  unlearn-pl ((?:test|attack) .*)$", printed, re.MULTILINE)
    attack_parser().parse_args(shlex.split(attack)[1:])
    assert "--model mine/hf --data.forget forget.jsonl --data.retain retain.jsonl" in attack
    main(shlex.split(command))
    results = read_results("mine/results.json")
    assert results.metrics["forget_probability"] == pytest.approx(
        float(re.search(r"qa/forget_probability +\S+ +(\S+)", printed)[1]), rel=0.01
    )
    main(["test", *SMALL, "--model=PretrainedModule", "--model.model=model", "--model.max_new_tokens=2"])
    assert read_results("mine/results.json") == results
    [other] = Path("mine").glob("results_*.json")
    assert read_results(other).model == "model"
    assert f"Written to {other}" in capsys.readouterr().out
    main(shlex.split(command))  # the same weights again: no third file
    assert len(list(Path("mine").glob("results*.json"))) == 2


@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # by the copy
def test_a_second_run_in_the_folder_is_noticed_and_moves_the_results(printed, folder, tmp_path, monkeypatch, capsys):
    shutil.copytree(folder, tmp_path / "user", symlinks=True)  # other tests read the weights of the first run
    monkeypatch.chdir(tmp_path / "user")
    main(["test", *SMALL, "--ckpt_path=last"])
    old = read_results("mine/results.json")
    expected = r"mine holds an earlier run \(checkpoints/epoch.*ckpt, .*hf, results.json\).*results are renamed.*resume"
    with pytest.warns(UserWarning, match=expected):
        main(["fit", *SMALL, "--model.optimizer.lr=1e-3"])
    assert not Path("mine/results.json").exists()
    moved = Path(f"mine/results_{old.weights_fingerprint[:8]}.json")
    assert read_results(moved) == old
    assert str(moved) in capsys.readouterr().out
    main(["fit", *SMALL, "--model.optimizer.lr=1e-3", "--trainer.max_epochs=2", "--ckpt_path=last"])  # no warning


def test_a_test_run_says_and_moves_nothing(folder, capsys):
    main(["fit", *SMALL, "--trainer.default_root_dir=other", "--trainer.fast_dev_run=true"])
    assert "Written" not in capsys.readouterr().out
    assert not Path("other").exists()


def test_metrics_of_the_sets_come_first():
    names = ["utility", "retain_rouge", "retain_probability", "forget_probability", "auc_low", "forget_rouge"]
    assert chosen_metrics({}, dict.fromkeys(names, 0.0)) == [
        *("forget_probability", "retain_probability"),
        *("forget_rouge", "retain_rouge"),
    ]
    assert chosen_metrics({"accuracy": 0.5, "accuracy_low": 0.4}, {}) == ["accuracy"]
