"""Every recipe is parsed, files compose without leaving traces of each other, and the tiny recipes run."""

import functools
import inspect
import itertools
from pathlib import Path

import pytest
import yaml

from unlearn_pl import modules
from unlearn_pl.cli import main
from unlearn_pl.commands.trainer import trainer_parser
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.results import read_results

ROOT = Path(__file__).parents[1] / "experiments"
FILES = sorted(path for path in ROOT.rglob("*.yaml") if path.parent.name != "attacks")  # tests/commands/test_attack.py
PARTS = ("cluster", "data", "methods", "models")
RECIPES = [path for path in FILES if path.parent != ROOT and path.parent.name not in PARTS]
METHODS = sorted((ROOT / "methods").glob("*.yaml"))
STEPS = [ROOT / f"{name}.yaml" for name in ("collapse_irrelevant", "dual_optim_plus", "step_projection")]
ADDED = [ROOT / "goals.yaml", ROOT / "zeroth_order.yaml", *STEPS]
"""Added to a method."""
DEBUG = sorted((ROOT / "debug").glob("*.yaml"))

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),  # see test_cli.py
    pytest.mark.filterwarnings("ignore:forget_quality is not computed"),
]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def parse():
    """YAML files to the configuration of ``fit`` that they compose to, as plain data."""
    built = trainer_parser()

    @functools.cache
    def parse(*files: Path):
        arguments = itertools.chain.from_iterable(("-c", str(file)) for file in files)
        # A part of a recipe need not name the model or the data.
        config = built.parse_args(["fit", *arguments], _skip_validation=True)
        return yaml.safe_load(built.dump(config, skip_validation=True))["fit"]

    return parse


@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_complete_recipes_are_valid(path, parse):
    config = parse(path)
    assert config["model"]["class_path"]
    assert config["data"]["class_path"]
    assert config["trainer"]["default_root_dir"].startswith("runs/")


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_file_says_what_it_is(path, parse):
    assert path.read_text().startswith("# ")
    assert parse(METHODS[0], path) if path in ADDED else parse(path)


def keys(written: object, parents: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """The keys of nested mappings, each with those above it."""
    if not isinstance(written, dict):
        return set()
    return {(*parents, key) for key in written}.union(*(keys(value, (*parents, key)) for key, value in written.items()))


def all_keys() -> list[Path]:
    """Methods that together write every key that any method writes."""
    chosen, seen = [], set()
    for path in METHODS:
        written = keys(yaml.safe_load(path.read_text()))
        chosen += [path] if written - seen else []
        seen |= written
    return chosen


@pytest.mark.parametrize("method", METHODS, ids=lambda path: path.stem)
def test_a_method_leaves_nothing_of_those_before_it_behind(method, parse):
    others = [path for path in all_keys() if path != method]
    assert len(others) > 10
    assert parse(*others, method) == parse(method)


@pytest.mark.parametrize("method", METHODS, ids=lambda path: path.stem)
def test_methods_name_combiner_reference_mask_and_goals(method, parse):
    accepted = parse(method)["model"]["init_args"].keys()
    written = yaml.safe_load(method.read_text())["model"]["init_args"].keys()
    assert {"combiner", "reference", "mask", "optimizer", "schedule", "goals"} & accepted <= written


@pytest.mark.parametrize("method", METHODS, ids=lambda path: path.stem)
def test_goals_can_be_added_to_every_method_and_do_not_stay_for_the_next(method, parse):
    goals = parse(method, ROOT / "goals.yaml")["model"]["init_args"]
    assert goals["goals"]["forget"]["init_args"]["level"] == "holdout"
    assert goals["goals"]["retain"]["init_args"]["share"] == 0.9
    assert goals["optimizer"]["init_args"]["betas"] == [0.5, 0.999]
    assert parse(method, ROOT / "goals.yaml", method)["model"]["init_args"].get("goals") is None


@pytest.mark.parametrize("method", METHODS, ids=lambda path: path.stem)
def test_every_method_runs_on_forward_passes(method, parse):
    options = parse(method, ROOT / "zeroth_order.yaml")["model"]["init_args"]
    assert options["gradient"]["class_path"].endswith("ZerothOrder")
    assert options["optimizer"]["class_path"] == "torch.optim.SGD"
    assert options["optimizer"]["init_args"]["weight_decay"] == 0.0
    assert "betas" not in options["optimizer"]["init_args"]


def test_what_is_added_to_a_method_composes_and_leaves_the_rest_as_it_is(parse):
    recipe = ROOT / "tofu" / "mollm.yaml"
    plain, changed = parse(recipe), parse(recipe, *STEPS)
    assert changed["model"]["init_args"].pop("gradient")["class_path"].endswith("CollapseIrrelevant")
    assert changed["model"]["init_args"].pop("optimizer")["init_args"]["shared"] is True
    assert changed["trainer"]["callbacks"].pop()["class_path"].endswith("StepProjection")
    for part in ("gradient", "optimizer"):
        plain["model"]["init_args"].pop(part, None)
    assert changed == plain


@pytest.mark.parametrize("preset", modules.__all__)
def test_the_file_of_a_method_has_its_defaults(preset):
    """Files with more in their names, such as ``npo_wmdp_small_beta``, may differ."""
    path = ROOT / "methods" / f"{preset.lower()}.yaml"
    if path in METHODS:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))["model"]["init_args"]
        for name, parameter in inspect.signature(getattr(modules, preset)).parameters.items():
            if isinstance(parameter.default, (int, float)) and name in given:
                assert given[name] == parameter.default, name


def test_every_method_has_a_file():
    written = {yaml.safe_load(method.read_text())["model"]["class_path"] for method in METHODS}
    presets = {name for name in modules.__all__ if issubclass(getattr(modules, name), UnlearningModule)}
    assert written - {"UnlearningModule"} == presets - {"UnlearningModule", "FineTuning"}  # some have no class


@pytest.mark.parametrize("data", sorted((ROOT / "data").glob("*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("model", sorted((ROOT / "models").glob("*.yaml")), ids=lambda path: path.stem)
def test_parts_compose(data, model, parse):
    method = ROOT / "methods" / "mollm.yaml"
    config = parse(ROOT / "base.yaml", data, method, model)
    assert config["trainer"]["max_epochs"] == parse(ROOT / "base.yaml")["trainer"]["max_epochs"]
    assert config["data"] == parse(data)["data"]
    assert config["model"] == parse(method, model)["model"]
    assert config["model"]["init_args"]["model"] == yaml.safe_load(model.read_text())["model"]["init_args"]["model"]
    names = [callback["class_path"].rsplit(".", 1)[1] for callback in config["trainer"]["callbacks"]]
    appended = yaml.safe_load(data.read_text())["trainer"]["callbacks+"]
    assert names == ["SavePretrained", *(callback["class_path"] for callback in appended)]
    assert [name.endswith("Evaluation") for name in names] == [False, True]


@pytest.mark.parametrize("recipe", DEBUG, ids=lambda path: path.stem)
def test_debug_recipes_run(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # seed_everything sets it; restored afterwards
    monkeypatch.chdir(tmp_path)
    arguments = ["-c", str(recipe), "--trainer.default_root_dir=root"]
    main(["fit", *arguments, "--trainer.fast_dev_run=true"])
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    main(["fit", *arguments])
    main(["test", *arguments, "--ckpt_path=last"])
    results = read_results("root/results.json")
    assert 0 <= results.metrics["model_utility"] <= 1
    assert results.seed == 0


def test_synthetic_recipes_lead_from_one_to_the_next(tmp_path, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    monkeypatch.chdir(tmp_path)
    short = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--trainer.enable_progress_bar=false"]
    small = [
        "--data.forget_authors=1",
        "--data.retain_authors=1",
        "--data.general_facts=3",
        "--data.max_eval_examples=2",
    ]
    tune = ["-c", str(ROOT / "synthetic" / "fine_tune.yaml"), *short, *small, "--model.max_new_tokens=2"]
    retain = [*tune, "--data.train_split=retain", "--trainer.default_root_dir=runs/demo/retain"]
    main(["fit", *tune])
    main(["fit", *retain])
    main(["test", *retain, "--ckpt_path=last"])
    # A model that has learned this little gives unseen answers no probability to speak of.
    goal = ["--model.goals.forget.level=start", "--model.goals.forget.share=0.5"]
    main(["fit", "-c", str(ROOT / "synthetic" / "mollm.yaml"), *short, *small, *goal])
    assert "forget_quality" in (tmp_path / "runs/synthetic/mollm/logs/version_0/metrics.csv").read_text()
    assert (tmp_path / "runs/synthetic/mollm/hf/model.safetensors").exists()
