"""What an earlier version wrote is read in today's terms; its files are in ``fixtures/before``."""

import hashlib
import json
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch.cli import LightningCLI

from unlearn_pl import gradients
from unlearn_pl.commands.attack import attack_parser
from unlearn_pl.commands.parser import current_arguments
from unlearn_pl.commands.trainer import trainer_parser
from unlearn_pl.modules import LanguageModule, UnlearningModule
from unlearn_pl.recording import class_path, record
from unlearn_pl.upgrading import current_path, upgraded

BEFORE = Path(__file__).parent / "fixtures" / "before"
PATHS = json.loads((BEFORE / "class_paths.json").read_text())
FACTS = json.loads((BEFORE / "facts.json").read_text())
TODAY = {"LanguageModule": "ModelModule"}
"""Names that are exported as well as the ones that took their place."""
CONFIGURATIONS = sorted(BEFORE.glob("*/*.yaml"))


def found_at(path: str) -> object:
    package, _, name = path.rpartition(".")
    return getattr(import_module(package), name)


@pytest.fixture(scope="module")
def fit():
    built = trainer_parser()
    return lambda *args: yaml.safe_load(built.dump(built.parse_args(["fit", *current_arguments(args)])))["fit"]


@pytest.fixture
def new_sources(monkeypatch):
    """What the arguments of modules were replaced by."""
    monkeypatch.setattr(gradients, "SketchedRows", object, raising=False)


# Class paths ----------------------------------------------------------------------------------------------------------


def test_every_path_leads_to_what_it_meant():
    found = {old: current_path(old) for old in PATHS}
    changed = {old for old, public in PATHS.items() if found[old] != public}
    assert changed == {"unlearn_pl.modules.training.TrainingModule"}  # a base class that no record names
    for old in PATHS.keys() - changed:
        assert found_at(found[old]).__name__ == TODAY.get(name := old.rpartition(".")[2], name)


@pytest.mark.parametrize(
    "path",
    [
        "MinNorm",
        "torch.optim.adamw.AdamW",
        "my_package.combiners.min_norm.MinNorm",
        "unlearn_pl.combiners.MinNorm",
        "unlearn_pl.combiners.min_norm.NeverThere",
        "unlearn_pl.never_there.min_norm.MinNorm",
        "see unlearn_pl.combiners.min_norm.MinNorm",
        "unlearn_pl.combiners.min_norm.MinNorm/hf",
    ],
)
def test_other_texts_are_left_alone(path):
    assert current_path(path) == path


def test_classes_are_recorded_by_their_public_path():
    for package in {public.rpartition(".")[0] for public in PATHS.values()}:
        exported = import_module(package)
        for name in exported.__all__:
            value = getattr(exported, name)
            if isinstance(value, type) and value.__module__.startswith(package) and value.__name__ == name:
                assert class_path(value) == f"{package}.{name}"


def test_classes_that_are_not_exported_are_recorded_by_their_file():
    class MinNorm:
        """Not the one that the package exports."""

    MinNorm.__module__ = "unlearn_pl.combiners.own"
    assert class_path(MinNorm) == f"unlearn_pl.combiners.own.{MinNorm.__qualname__}"
    assert class_path(LightningCLI) == "lightning.pytorch.cli.LightningCLI"


def test_an_upgraded_record_is_not_changed_again():
    today = record(gradients.FirstOrder())
    tree = {"model": {"class_path": "MOLLM", "init_args": {"gradient": today, "mask": None}}, "rows": [0, 1.5, True]}
    assert upgraded(tree) == tree


# Arguments of modules -------------------------------------------------------------------------------------------------

SHARPNESS_AWARE = {"class_path": "unlearn_pl.gradients.SharpnessAware", "init_args": {"rho": 0.1}}
FIRST_ORDER = {"class_path": "unlearn_pl.gradients.FirstOrder", "init_args": {}}
ROWS = {"class_path": "unlearn_pl.gradients.BFloat16Rows", "init_args": {}}


def sketched(**arguments: int) -> dict:
    return {"class_path": "unlearn_pl.gradients.SketchedRows", "init_args": arguments}


def first_order(rows: object) -> dict:
    return {"class_path": "unlearn_pl.gradients.FirstOrder", "init_args": {"rows": rows}}


REPLACED = [
    ({"gramian": "sketch", "sketch_size": 64}, {"gradient": sketched(size=64)}),
    ({"gramian": "sketch", "sketch_size": 64, "gradient": None, "row_storage": None}, {"gradient": sketched(size=64)}),
    ({"gramian": "sketch", "gradient": FIRST_ORDER}, {"gradient": sketched()}),
    ({"gramian": "exact", "sketch_size": 16384, "row_storage": None, "accumulate_grad_batches": None}, {}),
    ({"gramian": "exact", "gradient": SHARPNESS_AWARE}, {"gradient": SHARPNESS_AWARE}),
    ({"row_storage": ROWS}, {"gradient": first_order(ROWS)}),
    ({"row_storage": "BFloat16Rows", "gradient": "FirstOrder"}, {"gradient": first_order("BFloat16Rows")}),
    ({"row_storage": "WholeRows", "gradient": SHARPNESS_AWARE}, {"gradient": SHARPNESS_AWARE}),
    ({"beta": 0.1}, {"beta": 0.1}),
]


@pytest.mark.parametrize(("old", "today"), REPLACED)
@pytest.mark.usefixtures("new_sources")
def test_arguments_about_gradients_become_their_source(old, today):
    for wrap in (
        lambda arguments: {"model": {"class_path": "MOLLM", "init_args": {"scope": "global", **arguments}}},
        lambda arguments: {"fit": {"model": {"init_args": {"scope": "global", **arguments}}}},
        lambda arguments: {"_class_path": "unlearn_pl.modules.MOLLM", "scope": "global", **arguments},
    ):
        assert upgraded(wrap(old)) == wrap(today)


@pytest.mark.usefixtures("new_sources")
def test_a_number_of_micro_batches_is_dropped_with_a_warning():
    with pytest.warns(UserWarning, match=r"accumulate_grad_batches=4 .* micro_batch_size"):
        today = upgraded({"model": {"init_args": {"accumulate_grad_batches": 4}}})
    assert today == {"model": {"init_args": {}}}


@pytest.mark.usefixtures("new_sources")
def test_arguments_of_the_same_name_elsewhere_are_left_alone():
    tree = {
        "trainer": {"accumulate_grad_batches": 4},
        "data": {"class_path": "Own", "init_args": {"sketch_size": 3, "gramian": "sketch"}},
    }
    assert upgraded(tree) == tree


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:accumulate_grad_batches=2 of the module")
@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_configurations_are_parsed(fit, path, monkeypatch):
    monkeypatch.chdir(BEFORE)
    config = fit("-c", str(path))
    written = yaml.safe_load(path.read_text())
    for part in ("model", "data"):
        assert config[part]["class_path"] == PATHS[written[part]["class_path"]]
    assert not [text for text in strings(config) if text in PATHS]
    assert config["trainer"]["default_root_dir"] == written["trainer"]["default_root_dir"]


def strings(tree: object) -> list[str]:
    if isinstance(tree, dict | list):
        items = tree.values() if isinstance(tree, dict) else tree
        return [text for item in items for text in strings(item)]
    return [tree] if isinstance(tree, str) else []


def test_arguments_of_the_command_line_may_be_old_paths(fit):
    config = fit(
        "--model=unlearn_pl.modules.mollm.MOLLM",
        "--model.model=unlearn_pl.combiners.min_norm.MinNorm/hf",  # a folder
        "--data",
        "unlearn_pl.data.synthetic.SyntheticAuthorsDataModule",
        "--trainer.callbacks=[{class_path: unlearn_pl.callbacks.tofu.TOFUEvaluation}]",
    )
    assert config["model"]["class_path"] == "unlearn_pl.modules.MOLLM"
    assert config["model"]["init_args"]["model"] == "unlearn_pl.combiners.min_norm.MinNorm/hf"
    assert config["data"]["class_path"] == "unlearn_pl.data.SyntheticAuthorsDataModule"
    assert config["trainer"]["callbacks"][0]["class_path"] == "unlearn_pl.callbacks.TOFUEvaluation"


def test_configurations_of_attacks_are_parsed(tmp_path):
    data = {"class_path": "unlearn_pl.data.synthetic.SyntheticAuthorsDataModule"}
    rows = {"class_path": "unlearn_pl.robustness.random_fraction.RandomFraction"}
    attack = {"class_path": "unlearn_pl.robustness.relearning.Relearning", "init_args": {"rows": rows}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"model": "m", "data": data, "attacks": [attack]}))
    config = attack_parser().parse_args(["-c", str(tmp_path / "a.yaml")])
    assert config.data.class_path == "unlearn_pl.data.SyntheticAuthorsDataModule"
    assert config.attacks[0].init_args.rows.class_path == "unlearn_pl.robustness.RandomFraction"


def test_what_is_not_yaml_is_reported_by_the_parser(fit, tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("model: [unlearn_pl.modules.mollm.MOLLM\ndata: {")
    with pytest.raises(SystemExit):
        fit("-c", str(tmp_path / "a.yaml"))
    assert "Problems parsing config" in capsys.readouterr().err


@pytest.mark.parametrize("file", FACTS)
@pytest.mark.filterwarnings("ignore:accumulate_grad_batches=2 of the module")
def test_checkpoints_are_loaded(file, monkeypatch):
    if file.startswith("lora"):
        pytest.importorskip("peft")
    monkeypatch.chdir(BEFORE)  # the folder of the model called base
    facts = FACTS[file]
    module = LanguageModule.load_from_checkpoint(BEFORE / file)

    assert isinstance(module, UnlearningModule)
    assert type(module).__name__ == facts["class"]
    assert digest(module.model) == facts["sha256_of_parameters_after_load_from_checkpoint"]
    for part in ("combiner", "reference", "mask", "schedule"):
        component, told = getattr(module, part), facts[part]
        assert (component and type(component).__name__) == (told and told["class"])
        assert {name: getattr(component, name) for name in told or {} if hasattr(component, name)} == {
            name: value for name, value in (told or {}).items() if hasattr(component, name)
        }
    told = {name: (of["class"], of["role"]) for name, of in facts["objectives"].items()}
    assert {name: (type(of).__name__, of.role) for name, of in module.objectives.items()} == told
    optimizer = module.optimizer([torch.nn.Parameter(torch.zeros(1))])
    assert type(optimizer).__name__ == facts["optimizer"]["class"]
    assert optimizer.defaults["lr"] == facts["optimizer"]["lr"]
    assert module.hparams == upgraded(dict(module.hparams))  # kept in today's terms, for the next checkpoint


def test_a_checkpoint_of_an_unknown_class_is_not_loaded(tmp_path):
    checkpoint = torch.load(BEFORE / "npo_bfloat16_rows" / "last.ckpt", weights_only=True)
    checkpoint["hyper_parameters"]["_class_path"] = "not_imported.modules.NPO"
    torch.save(checkpoint, tmp_path / "npo.ckpt")
    with pytest.raises(ValueError, match=r"by a not_imported\.modules\.NPO, which is no imported subclass of Mod"):
        LanguageModule.load_from_checkpoint(tmp_path / "npo.ckpt")


def digest(model: torch.nn.Module) -> str:
    found = hashlib.sha256()
    for _, value in sorted(model.named_parameters()):
        found.update(value.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
