"""`unlearn-pl attack` from YAML files: what it prints and writes, and what it refuses."""

from pathlib import Path

import pytest
import yaml

from tests.modules.checkpoints.test_folder_lock import held
from tests.robustness.subjects import make_folder
from unlearn_pl.cli import main
from unlearn_pl.commands.attack import attack_parser, relearning_curves
from unlearn_pl.robustness import read_outcomes

ATTACKS = Path(__file__).parents[2] / "experiments" / "attacks"
RECIPES = sorted(path for path in ATTACKS.glob("*.yaml") if path.stem != "audit")  # of another command
SMALL = {
    "model": "audited",
    "retain_model": "retain",
    "output": "out",
    "max_new_tokens": 2,
    "accelerator": "cpu",
    "data": {
        "class_path": "SyntheticAuthorsDataModule",
        "init_args": {
            "forget_authors": 1,
            "retain_authors": 1,
            "general_facts": 1,
            "vocab_size": 400,
            "max_eval_examples": 2,
        },
    },
    "attacks": [
        {
            "class_path": "Relearning",
            "init_args": {"rows": {"class_path": "ShortestFraction"}, "steps": 2, "evaluate_every": 1},
        },
        {"class_path": "Quantization", "init_args": {"quantizer": {"class_path": "NormalFloat4"}}},
    ],
}


@pytest.fixture
def recipe(tmp_path, monkeypatch) -> str:
    """A small recipe and its models, in the working directory."""
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "audited")
    make_folder(tmp_path / "retain", seed=1)
    Path("recipe.yaml").write_text(yaml.safe_dump(SMALL))
    return "recipe.yaml"


def refused(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit_:
        main(["attack", *arguments])
    assert exit_.value.code == 1
    return capsys.readouterr().err.splitlines()[-1]


def test_a_recipe_prints_a_table_and_writes_outcomes_and_a_figure(recipe, capsys):
    main(["attack", "-c", recipe, "--seed", "3"])
    printed = capsys.readouterr().out
    for name in ("Unattacked", "Relearning (shortest 20%)", "Quantization (NF4)"):
        assert len([line for line in printed.splitlines() if line.strip().startswith(name)]) == 2
    outcomes = read_outcomes("out/attacks.json")
    assert [outcome.seed for outcome in outcomes] == [3] * 6
    value = next(o for o in outcomes if o.attack.startswith("Relearning")).after["forget_probability_area"]
    assert f"{value:.2f}" in next(line for line in printed.splitlines() if line.strip().startswith("Relearning"))
    assert Path("out/relearning.png").read_bytes().startswith(b"\x89PNG")
    main(["attack", "-c", recipe, "--seed", "3"])
    assert read_outcomes("out/attacks.json") == outcomes


def test_arguments_replace_those_of_the_recipe(recipe, capsys):
    main(["attack", "-c", recipe, "--retain_model", "null", "--output", "elsewhere", "--attacks", "[PrefixAttack]"])
    outcomes = read_outcomes("elsewhere/attacks.json")
    assert [(o.attack, o.role) for o in outcomes] == [("Unattacked", "audited"), ("PrefixAttack (25%)", "audited")]
    assert not Path("elsewhere/relearning.png").exists()


def test_progress_is_shown_within_an_attack(recipe, capsys):
    alone = ["--retain_model=null", "--attacks=[PrefixAttack]"]
    main(["attack", "-c", recipe, *alone])
    printed = capsys.readouterr()
    assert "audited model, PrefixAttack (25%) ...\n" in printed.out
    assert "Testing DataLoader" in printed.out + printed.err
    main(["attack", "-c", recipe, *alone, "--progress=false", "--output=quiet"])
    printed = capsys.readouterr()
    assert "Testing DataLoader" not in printed.out + printed.err
    main(["attack", "-c", recipe, *alone])
    assert "..." not in capsys.readouterr().out  # nothing is run again


def test_the_caption_speaks_of_what_is_in_the_table(recipe, capsys):
    main(["attack", "-c", recipe, "--progress=false"])
    assert "The retain model never saw the answers" in (with_both := " ".join(capsys.readouterr().out.split()))
    assert "steps to half are of the probability" in with_both
    main(["attack", "-c", recipe, "--progress=false", "--retain_model=null", "--attacks=[PrefixAttack]"])
    alone = " ".join(capsys.readouterr().out.split())
    assert "Without a retain model (--retain_model)" in alone
    assert "The retain model never" not in alone
    assert "steps to half are" not in alone


def test_attacks_of_one_name_have_a_curve_each(recipe, capsys):
    attacks = [
        {"class_path": "Relearning", "init_args": {"steps": 1, "evaluate_every": 1, "learning_rate": rate}}
        for rate in (1e-4, 1e-2)
    ]
    Path("rates.yaml").write_text(yaml.safe_dump(SMALL | {"attacks": attacks}))
    main(["attack", "-c", "rates.yaml"])
    outcomes = [outcome for outcome in read_outcomes("out/attacks.json") if outcome.curve]
    curves = relearning_curves(outcomes)
    name = "Relearning (random 20%)"
    assert list(curves) == [f"{role}: {name}{number}" for number in ("", ", 2") for role in ("audited", "retain")]
    for points, outcome in zip(curves.values(), outcomes, strict=True):
        assert points[-1] == (1.0, outcome.curve["forget_probability"][-1])


def test_what_cannot_be_done_is_a_line(recipe, capsys):
    assert "There is no model in 'nowhere'" in refused(capsys, "-c", recipe, "--model", "nowhere")
    too_few = "[{class_path: Relearning, init_args: {rows: {class_path: RandomFraction, init_args: {fraction: 0.01}}}}]"
    assert "selects none" in refused(capsys, "-c", recipe, "--attacks", too_few)


def test_typing_errors_are_refused_by_the_parser(recipe, capsys):
    for arguments in (["-c", recipe, "--modle", "x"], ["-c", recipe, "--attacks", "[Bribery]"], []):
        with pytest.raises(SystemExit) as exit_:
            main(["attack", *arguments])
        assert exit_.value.code == 2


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_of_the_repository_are_valid(path):
    assert path.read_text().startswith("# ")
    config = attack_parser().parse_args(["-c", str(path)])
    assert config.attacks
    assert config.output.startswith("runs/")


def test_two_audits_do_not_write_to_one_folder(recipe, capsys):
    with held(Path("out/.attack.lock")):
        assert "Another `unlearn-pl attack` runs in 'out': process 7 on node3." in refused(capsys, "-c", recipe)
    assert not Path("out/attacks.json").exists()
