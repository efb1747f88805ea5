"""The recipes of papers are those that the script writes, and are found by the number of their paper."""

import re
from pathlib import Path

import pytest
import yaml

from experiments.paper_recipes import PAPERS, ROOT, merged, recipe
from unlearn_pl.cli import main
from unlearn_pl.commands.recipes import paper_listing

TABLES = {f"{paper}/{table.name}": (paper, table) for paper, tables in PAPERS.items() for table in tables}


def test_the_files_are_those_that_the_script_writes():
    written = {path.relative_to(ROOT / "papers").with_suffix("").as_posix() for path in ROOT.glob("papers/*/*.yaml")}
    assert written == set(TABLES)
    for name, (paper, table) in TABLES.items():
        assert (ROOT / "papers" / f"{name}.yaml").read_text(encoding="utf-8") == recipe(paper, table)


def test_later_parts_take_precedence_and_lists_are_appended():
    under = {"a": {"class_path": "A", "init_args": {"x": 1, "y": 2}}, "callbacks": [1], "b": 1}
    assert merged(under, {"a": {"init_args": {"x": 3}}, "callbacks+": [2], "b": None}) == {
        "a": {"class_path": "A", "init_args": {"x": 3, "y": 2}},
        "callbacks": [1, 2],
        "b": None,
    }
    assert merged(under["a"], {"class_path": "B"}) == {"class_path": "B"}


@pytest.mark.parametrize("name", ["2410.07163/tofu_forget10", "2604.14808/simnpo_sago", "2407.06460/npo_books"])
def test_a_recipe_composes_as_the_command_line_does(name, parse):
    paper, table = TABLES[name]
    config = yaml.safe_load(recipe(paper, table))
    parts = parse(*(ROOT / f"{part}.yaml" for part in ("base", *table.parts)))
    ours = parse(ROOT / "papers" / f"{name}.yaml")
    given = {*table.options.get("model", {}).get("init_args", {}), "model"}
    for argument in ours["model"]["init_args"].keys() - given:
        assert ours["model"]["init_args"][argument] == parts["model"]["init_args"][argument]
    assert ours["trainer"]["callbacks"] == parts["trainer"]["callbacks"]
    assert ours["model"]["init_args"]["model"] == table.model == config["model"]["init_args"]["model"]


@pytest.fixture(scope="module")
def parse():
    from unlearn_pl.commands.trainer import trainer_parser

    built = trainer_parser()

    def parse(*files: Path) -> dict:
        arguments = [argument for file in files for argument in ("-c", str(file))]
        config = built.parse_args(["fit", *arguments], _skip_validation=True)
        return yaml.safe_load(built.dump(config, skip_validation=True))["fit"]

    return parse


def test_the_paper_in_the_catalog_is_that_of_the_recipe():
    """Every paper of a recipe stands in METHODS.md, or is that of a benchmark."""
    catalog = (ROOT.parent / "METHODS.md").read_text(encoding="utf-8")
    benchmarks = {"2407.06460", "2506.12618"}  # MUSE, OpenUnlearning
    assert {paper for paper in PAPERS if paper not in catalog} <= benchmarks


@pytest.mark.parametrize("given", ["2410.07163", "arXiv:2410.07163", "https://arxiv.org/abs/2410.07163v2"])
def test_the_recipes_of_a_paper_are_listed_with_its_numbers(given, capsys):
    main(["recipes", "--paper", given])
    shown = capsys.readouterr().out
    assert re.findall(r"-c (\S+)", shown) == [f"papers/{name}" for name in sorted(TABLES) if "2410.07163" in name]
    assert "forget quality .99, model utility .58" in shown


def test_an_unknown_paper_names_those_with_recipes():
    with pytest.raises(ValueError, match=r"no recipe of paper '1234.5678'.*2401.06121, .*2410.07163"):
        paper_listing("1234.5678")


def test_a_name_and_a_paper_are_too_much(capsys):
    with pytest.raises(SystemExit):
        main(["recipes", "tofu/mollm", "--paper", "2410.07163"])
    assert "not both" in capsys.readouterr().err
