"""A sweep trains, tests and compares its points; what is done is not done again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.report.page.browser import chromium
from tests.report.page.checked import check
from unlearn_pl import cli
from unlearn_pl.commands.sweep import runs
from unlearn_pl.report import read_page
from unlearn_pl.results import read_json, read_results

ROOT = Path(__file__).parents[3]
RECIPE = ["-c", str(ROOT / "experiments" / "debug" / "mollm.yaml"), "--trainer.max_epochs=1"]
GRID = ["--grid", "model.optimizer.init_args.lr=[1.0e-3, 1.0e-2]"]

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
    pytest.mark.filterwarnings("ignore:forget_quality is not computed"),
]


@pytest.fixture
def called(monkeypatch):
    """The commands that a sweep calls, in this process."""
    calls = []

    def call(arguments, folder):
        calls.append(arguments[0])
        try:
            cli.main(arguments)
        except SystemExit as ended:
            return f"status {ended.code}" if ended.code else None
        return None

    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # seed_everything sets it; restored afterwards
    monkeypatch.setattr(runs, "_called", call)
    return calls


def test_a_sweep_ends_with_the_front_of_its_results(called, tmp_path, capsys):
    sweep = ["sweep", *RECIPE, *GRID, "--output", str(tmp_path)]
    cli.main(sweep)
    assert called == ["fit", "test"] * 2
    written = read_json(tmp_path / "sweep.json")
    assert written["axes"] == {"forget_probability": "lower", "retain_probability": "higher"}
    for rate in ("0.001", "0.01"):
        results = read_results(tmp_path / f"lr={rate},seed=0" / "results.json")
        means = written["means"][f"lr={rate}"]
        assert means["forget_probability"]["value"] == results.metrics["forget_probability"]
        cost = json.loads((tmp_path / f"lr={rate},seed=0" / "cost.json").read_text())
        # three objectives, two micro-batches
        assert means["backward_passes"]["value"] == cost["backward_passes"] == 6 * cost["steps"]
    assert set(written["front"]) <= {"lr=0.001", "lr=0.01"}
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")

    runs = {path.parent.name: path.parent for path in sorted(tmp_path.glob("*/results.json"))}
    page = tmp_path / "report.html"
    cli.main(["report", *map(str, runs.values()), "--output", str(page), "--resamples", "20", "--pictures", "false"])
    assert [run["cost"][0] for run in read_page(page)["runs"]] == [["optimizer steps", cost["steps"]]] * 2
    if shutil.which("chromium") and find_spec("selenium"):
        with chromium(tmp_path) as browser:
            check(browser, page, runs)

    capsys.readouterr()
    cli.main(sweep)
    assert called == ["fit", "test"] * 2
    assert "2/2 lr=0.01,seed=0 (done before)" in capsys.readouterr().out
    assert read_json(tmp_path / "sweep.json") == written

    with pytest.raises(SystemExit):
        cli.main([*sweep, "--trainer.max_epochs=2"])
    assert "holds a run with other arguments (--trainer.max_epochs=2)" in capsys.readouterr().err

    with pytest.raises(SystemExit):
        cli.main([*sweep, "--front", "beauty:higher"])
    assert "no run has beauty" in capsys.readouterr().err


def test_a_point_that_fails_is_named_and_the_others_go_on(called, tmp_path, capsys):
    sweep = ["sweep", *RECIPE, "--grid", "model.optimizer.init_args.lr=[oops, 1.0e-3]", "--output", str(tmp_path)]
    with pytest.raises(SystemExit) as ended:
        cli.main(sweep)
    assert ended.value.code == 1
    assert called == ["fit", "fit", "test"]
    shown = capsys.readouterr()
    assert "1 of 2 runs failed (lr=oops,seed=0)" in shown.err
    assert list(read_json(tmp_path / "sweep.json")["means"]) == ["lr=0.001"]


def test_a_point_alone_is_run_as_schedulers_do(called, tmp_path):
    cli.main(["sweep", *RECIPE, *GRID, "--output", str(tmp_path), "--point", "1"])
    assert [path.name for path in tmp_path.iterdir()] == ["lr=0.01,seed=0"]
    assert (tmp_path / "lr=0.01,seed=0" / "results.json").is_file()


@pytest.mark.slow
def test_a_sweep_of_six_points_that_is_killed_resumes_to_the_same_front(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    sweep = [sys.executable, "-m", "unlearn_pl", "sweep", *RECIPE, "--trainer.max_epochs=3", "--seeds", "2"]
    sweep += ["--grid", "model.optimizer.init_args.lr=[1.0e-3, 1.0e-2, 1.0e-1]", "--output"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen([*sweep, str(killed)], env=environment, start_new_session=True)
    while len(list(killed.glob("*/cost.json"))) < 3:
        time.sleep(0.1)
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "sweep.json").exists()
    for folder in (killed, whole):
        subprocess.run([*sweep, str(folder)], env=environment, check=True)
    assert read_json(killed / "sweep.json") == read_json(whole / "sweep.json")
