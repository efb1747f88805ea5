"""Recipes are listed and found by name."""

from pathlib import Path

import pytest
import yaml

from unlearn_pl.cli import main
from unlearn_pl.commands.attack import attack_parser
from unlearn_pl.commands.recipes import description, find_recipe
from unlearn_pl.commands.trainer import trainer_parser

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "experiments").rglob("*.yaml"))
NAMES = [path.relative_to(ROOT / "experiments").with_suffix("").as_posix() for path in FILES]


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_every_recipe_is_listed_with_a_line(capsys):
    main(["recipes"])
    lines = capsys.readouterr().out.splitlines()
    assert len(FILES) > 60
    for name, path, line in zip(NAMES, FILES, lines, strict=False):
        assert line.split()[0] == name
        assert len(description(path)) > 5
        assert len(line) <= 120
        shown = line.split(maxsplit=1)[1].removesuffix(" ...")
        assert description(path).startswith(shown)


def test_the_description_is_the_first_sentence_of_the_comment(tmp_path):
    (tmp_path / "a.yaml").write_text("# TOFU on Llama-3.2-1B,\n# fine-tuned. More.\nmodel: # not this\n")
    assert description(tmp_path / "a.yaml") == "TOFU on Llama-3.2-1B, fine-tuned."


def test_a_recipe_is_printed(capsys):
    main(["recipes", "tofu/mollm"])
    assert capsys.readouterr().out == (ROOT / "experiments" / "tofu" / "mollm.yaml").read_text()


@pytest.mark.parametrize("given", ["tofu/mollm", "tofu/mollm.yaml", "experiments/tofu/mollm.yaml"])
def test_a_name_leads_to_the_file(given):
    assert find_recipe(given) == str(ROOT / "experiments" / "tofu" / "mollm.yaml")


def test_a_file_of_the_working_directory_takes_precedence(tmp_path):
    (tmp_path / "tofu").mkdir()
    for file in ("mollm.yaml", "own"):
        (tmp_path / "tofu" / file).write_text("seed_everything: 7")
    assert find_recipe("tofu/mollm.yaml") == "tofu/mollm.yaml"
    assert find_recipe("tofu/mollm") == "tofu/mollm.yaml"
    assert find_recipe("tofu/own") == "tofu/own"
    (tmp_path / "base").mkdir()
    assert find_recipe("base") == str(ROOT / "experiments" / "base.yaml")  # a folder is no configuration


@pytest.mark.parametrize("given", ["{seed_everything: 7}", "s3://bucket/tofu/mollm.yaml", "seed_everything: 7"])
def test_what_can_be_no_name_is_left_to_the_parser(given):
    assert find_recipe(given) == given


@pytest.mark.parametrize(
    ("given", "similar"),
    [("tofu/molm", "tofu/mollm"), ("npo", "methods/npo"), ("experiments/tofu_forget10.yaml", "data/tofu_forget10")],
)
def test_an_unknown_name_lists_similar_ones(given, similar, capsys):
    with pytest.raises(
        ValueError, match=f"no file '{given}' and no recipe .*Did you mean .*{similar}.*unlearn-pl recip"
    ):
        find_recipe(given)
    for command, status in ((["fit", "-c", given], 2), (["recipes", given], 1)):
        with pytest.raises(SystemExit) as exit_:
            main(command)
        assert exit_.value.code == status
        message = capsys.readouterr().err
        assert similar in message
        assert message.count("\n") < 6


def test_commands_read_recipes_by_name(monkeypatch):
    built = trainer_parser()

    def parse(*names: str) -> object:
        given = [argument for name in names for argument in ("-c", name)]
        return yaml.safe_load(built.dump(built.parse_args(["fit", *given])))

    composed = ["base", "data/tofu_forget10", "methods/npo", "models/llama32_1b"]
    by_name = [parse("text/mollm"), parse(*composed)]
    attacks = attack_parser().parse_args(["--config", "attacks/synthetic"]).attacks
    monkeypatch.chdir(ROOT)
    paths = [f"experiments/{name}.yaml" for name in ("text/mollm", *composed)]
    assert by_name == [parse(paths[0]), parse(*paths[1:])]
    assert by_name[0]["fit"]["data"]["init_args"]["forget"] == "tickets/forget.csv"  # in the working directory
    assert attack_parser().parse_args(["-c", "experiments/attacks/synthetic.yaml"]).attacks == attacks
