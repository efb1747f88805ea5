"""`unlearn-pl audit` from YAML files: one verdict, within a time, and resumed."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.commands.test_attack import SMALL
from tests.fuzz.readers import readers
from tests.modules.checkpoints.test_folder_lock import held
from tests.robustness.subjects import make_folder
from tests.robustness.test_audit import contents
from unlearn_pl.cli import main
from unlearn_pl.commands.audit import audit_parser
from unlearn_pl.robustness import read_outcomes, read_report

RECIPE = Path(__file__).parents[2] / "experiments" / "attacks" / "audit.yaml"
ATTACKS = [
    {"class_path": "LogitLens"},
    {"class_path": "PrefixAttack"},
    {
        "class_path": "RelearningSweep",
        "init_args": {"learning_rates": [1e-3, 1e-2], "steps": 2, "evaluate_every": 1, "batch_size": 2},
    },
]


@pytest.fixture
def recipe(tmp_path, monkeypatch) -> str:
    """A small recipe and its models, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("audited", "retain", "original")):
        make_folder(tmp_path / name, seed=seed)
    small = SMALL | {"original_model": "original", "attacks": ATTACKS, "evaluation": {"class_path": "QAEvaluation"}}
    Path("recipe.yaml").write_text(yaml.safe_dump(small))
    return "recipe.yaml"


def test_an_audit_evaluates_attacks_and_judges_and_repeats_nothing(recipe, capsys):
    before = contents("audited")
    main(["audit", "-c", recipe, "--progress=false"])
    printed = capsys.readouterr().out
    assert "**Probability:" in printed
    report = read_report("out/audit.json")
    leaks = {(leak["attack"], leak["score"]) for leak in report["verdict"]["leaks"]}
    sweep = "RelearningSweep (2 settings, loss 10%)"
    assert {(name, "forget_probability") for name in ("Unattacked", "LogitLens", "PrefixAttack (25%)", sweep)} <= leaks
    best = report["verdict"]["strongest"]["forget_probability"]
    assert best["bounded"]
    assert best["retain"]["low"] <= best["retain"]["value"] <= best["retain"]["high"]
    assert best["original"] is not None
    assert report["models"] == {"audited": "audited", "retain": "retain", "original": "original"}
    assert report["not_run"] == []
    assert report["evaluation"]["qa"] == json.loads(Path("out/results.json").read_text())["metrics"]
    assert Path("out/audit.md").read_text() in printed
    assert contents("audited") == before
    main(["audit", "-c", recipe, "--progress=false"])
    again = capsys.readouterr().out
    assert "..." not in again  # nothing is run again
    assert read_report("out/audit.json")["verdict"] == report["verdict"]
    assert len(read_outcomes("out/attacks.json")) == 3 + 2 * (3 + 2)  # unattacked; attacks and settings on two models


def test_attacks_that_do_not_fit_are_listed_and_more_time_goes_on(recipe, capsys):
    options = ["--progress=false", "--evaluation=null"]
    main(["audit", "-c", recipe, "--minutes=1e-6", *options])
    assert "Not run, for want of time:" in capsys.readouterr().out
    report = read_report("out/audit.json")
    names = [one["attack"] for one in report["not_run"]]
    assert names == ["LogitLens", "PrefixAttack (25%)", "RelearningSweep (2 settings, loss 10%)"]  # the cheapest first
    assert all(one["estimate"] > 0 for one in report["not_run"])
    assert {leak["attack"] for leak in report["verdict"]["leaks"]} == {"Unattacked"}
    main(["audit", "-c", recipe, "--minutes=30", *options])
    assert read_report("out/audit.json")["not_run"] == []
    assert "Unattacked ..." not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minutes=0"], "minutes=0"),
        (["--level=1"], "level=1"),
        (["--utility_loss=1"], "utility_loss=1"),
        (["--model=nowhere"], "There is no model in 'nowhere'"),
        (["--attacks=[{class_path: LogitLens, init_args: {layers: [9]}}]"], "has 1 layers"),
    ],
)
def test_what_cannot_be_done_is_a_line(recipe, capsys, arguments, message):
    with pytest.raises(SystemExit) as exit_:
        main(["audit", "-c", recipe, *arguments])
    assert exit_.value.code == 1
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not Path("out/audit.json").exists()


def test_audits_and_attacks_do_not_share_a_folder_at_once(recipe, capsys):
    with held(Path("out/.attack.lock")), pytest.raises(SystemExit):
        main(["audit", "-c", recipe])
    assert "Another `unlearn-pl attack` runs in 'out'" in capsys.readouterr().err


def test_a_damaged_report_is_refused(tmp_path):
    (tmp_path / "audit.json").write_text('{"schema_version": 7}')
    with pytest.raises(ValueError, match="is not an audit"):
        read_report(tmp_path / "audit.json")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (re.compile(r',\s*"seal": "[^"]*"'), "", "has lost the 'seal'"),
        (re.compile('"seal"'), '"soul"', r"has or lacks the keys \['soul'\]"),
        (re.compile("0.375"), "0.125", "was changed after it was written"),
    ],
)
def test_a_report_without_its_digest_or_with_other_numbers_raises(tmp_path, old, new, message):
    readers()["audit.json"].write(tmp_path)
    file = tmp_path / "audit.json"
    text = file.read_text()
    assert read_report(file)["seed"] == 0
    file.write_text(old.sub(new, text, count=1))
    with pytest.raises(ValueError, match=message):
        read_report(file)


def test_the_recipe_of_the_repository_is_valid():
    config = audit_parser().parse_args(["-c", str(RECIPE)])
    assert len(config.attacks) > 10
    assert config.output.startswith("runs/")
