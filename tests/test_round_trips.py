"""What `--print_config` prints of a recipe is the recipe again: as configuration, and as the objects that it builds."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from lightning.pytorch.trainer.states import TrainerFn

from unlearn_pl.commands.trainer import RunConfig, TrainerParser, trainer_parser
from unlearn_pl.recording import record

ROOT = Path(__file__).parents[1] / "experiments"
PARTS = ("attacks", "cluster", "data", "methods", "models")
RECIPES = sorted(path for path in ROOT.rglob("*.yaml") if path.parent != ROOT and path.parent.name not in PARTS)
QUICK = {"canvas/sd15", "debug/mollm", "images/mollm", "proof/tofu", "smollm2/mollm_goals", "synthetic/neighbors"}
"""The others take a minute together, and differ from these in numbers and names."""

# As for users, to whom jsonargparse warns: as an error, a warning leads it to another branch.
pytestmark = pytest.mark.filterwarnings("default::UserWarning")


def name(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").as_posix()


@pytest.fixture(scope="module")
def parser() -> TrainerParser:
    return trainer_parser()


def printed(parser: TrainerParser, arguments: list[str], capsys) -> str:
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["fit", *arguments, "--print_config"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def parsed(parser: TrainerParser, arguments: list[str]) -> tuple[dict[str, Any], str]:
    """The configuration of ``fit``, and how it is written."""
    config = parser.parse_args(["fit", *arguments])
    text = yaml.safe_load(parser.dump(config, "parser_mode", False))["fit"]
    return {key: value for key, value in config.fit.as_dict().items() if key != "config"}, text  # the files read


@pytest.mark.parametrize(
    "recipe", [pytest.param(p, marks=[] if name(p) in QUICK else pytest.mark.slow, id=name(p)) for p in RECIPES]
)
def test_a_recipe_is_printed_as_it_is(recipe, parser, tmp_path, capsys, recwarn):
    again = tmp_path / "again.yaml"
    again.write_text(printed(parser, ["-c", str(recipe)], capsys))
    config, text = parsed(parser, ["-c", str(again)])
    assert config == parsed(parser, ["-c", str(recipe)])[0]
    assert text == yaml.safe_load(again.read_text())
    assert not [one.message for one in recwarn if "serialize" in str(one.message)]


def test_the_quick_ones_are_recipes():
    assert set(map(name, RECIPES)) >= QUICK


def test_what_is_printed_builds_the_same_objects(parser, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("again.yaml").write_text(printed(parser, ["-c", "debug/mollm"], capsys))
    records = []
    for recipe in ("debug/mollm", "again.yaml"):
        built = parser.instantiate_classes(parser.parse_args(["fit", "-c", recipe])).fit
        parts = [built.model, built.data, *built.trainer.callbacks]
        assert len(parts) == 5
        records.append([record(part) if hasattr(part, "recorded_arguments") else vars(part) for part in parts])
        records[-1].append(dict(built.model.hparams))
    assert records[0] == records[1]
    assert records[0][-1]


def test_an_argument_that_was_set_to_nothing_is_kept_by_the_file_of_a_run(parser, tmp_path):
    """ESD changes the weights of the attention to the text only, unless its mask is null."""
    arguments = ["-c", "canvas/mini", "-c", "methods/esd", "--model.mask=null"]
    config = parser.parse_args(["fit", *arguments])
    fitting = SimpleNamespace(fn=TrainerFn.FITTING)
    trainer = SimpleNamespace(default_root_dir=tmp_path, loggers=[], state=fitting, datamodule=None)
    RunConfig(parser, config).save_config(trainer, None, "fit")
    written = yaml.safe_load((tmp_path / "config_fit.yaml").read_text())["fit"]
    assert written["model"]["class_path"].endswith("ESD")
    assert written["model"]["init_args"].get("mask", "absent") is None
