"""The command line in process: what it accepts, what a run leaves behind, and which weights are evaluated."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

import unlearn_pl
from unlearn_pl.cli import COMMANDS, TRAINER_COMMANDS, main
from unlearn_pl.combiners import DualBasis, MinNorm
from unlearn_pl.commands.trainer import trainer_parser
from unlearn_pl.modules import MOLLM, LanguageModule, UnlearningModule
from unlearn_pl.objectives import KLDivergenceLoss
from unlearn_pl.results import read_results, weights_fingerprint

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
UNLEARNING = ["-c", str(EXPERIMENTS / "debug" / "unlearning.yaml")]
PRESET = ["-c", str(EXPERIMENTS / "debug" / "mollm.yaml")]
WITHOUT_EVALUATION = ["--trainer.callbacks=[]", "--trainer.limit_val_batches=0"]

pytestmark = [
    # Lightning cannot know that the weights of a module which optimizes by hand are those after the step.
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
    # A second run in the same folder is what these tests are about.
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed from"),
    pytest.mark.filterwarnings("ignore:forget_quality is not computed"),
]


@pytest.fixture(scope="module")
def parse():
    """Arguments of ``fit`` to its configuration, as plain data."""
    built = trainer_parser()
    return lambda *args: yaml.safe_load(built.dump(built.parse_args(["fit", *args]), skip_none=False))["fit"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with one finished run: 2 epochs of 3 steps of 2 micro-batches."""
    root = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PL_GLOBAL_SEED", "0")  # seed_everything sets it; restored with the context
        main(["fit", *UNLEARNING, f"--trainer.default_root_dir={root}"])
    return root


@pytest.fixture(autouse=True)
def _keep_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


# Commands and arguments -----------------------------------------------------------------------------------------------


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    printed = capsys.readouterr().out
    assert exit_.value.code == 0
    assert [*TRAINER_COMMANDS, *COMMANDS] == [
        *("fit", "validate", "test", "predict"),
        *("demo", "attribute", "sweep", "compare", "report", "requests", "doctor", "recipes", "attack", "audit"),
        *("extrapolate", "corrupt", "redirect", "lens", "sanitize"),
    ]
    for help_ in (TRAINER_COMMANDS | COMMANDS).values():
        assert help_ in printed


def test_version(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"unlearn-pl {unlearn_pl.__version__}\n"


@pytest.mark.parametrize("args", [[], ["fti"], ["-c", "recipe.yaml"]])
def test_what_is_no_command_is_refused(args, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(args)
    assert exit_.value.code == 2
    assert "predict" in capsys.readouterr().err


def test_a_class_explains_itself(capsys):
    for args, expected in ((["--model.help", "MOLLM"], "normal_stream"), (["--data.help", "TOFUDataModule"], "path")):
        with pytest.raises(SystemExit) as exit_:
            main(["fit", *args])
        assert exit_.value.code == 0
        assert f"{args[0][:-5]}.{expected}" in capsys.readouterr().out


def test_a_typing_error_is_a_short_message(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["fit", *PRESET, "--model.max_epoch=3"])
    message = capsys.readouterr().err
    assert exit_.value.code == 2
    assert "max_epoch" in message
    assert message.count("\n") < 15


def test_imports_are_lazy():
    code = """
import sys, unlearn_pl.cli
assert not {"torch", "lightning", "jsonargparse"} & set(sys.modules)
import unlearn_pl.commands.trainer
assert "lightning" in sys.modules
assert not (found := {"wandb", "peft", "torchjd", "lm_eval"} & set(sys.modules)), found
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("combiner", "MinNorm"),
        ("gradient", "FirstOrder"),
        ("mask", "TrainableParameters"),
        ("optimizer", "torch.optim.SGD"),
        ("reference", "AdapterReference"),
        ("schedule", "Constant"),
    ],
)
def test_bare_class_names_of_components(parse, key, name):
    extra = ["--model.optimizer.lr=0.1"] if key == "optimizer" else []
    config = parse(*PRESET, f"--model.{key}={name}", *extra)
    assert config["model"]["init_args"][key]["class_path"].rsplit(".", 1)[1] == name.rsplit(".", 1)[-1]


def test_bare_class_names_of_modules_data_and_callbacks(parse):
    config = parse(
        "--model=GradDiff", "--model.model=m", "--data=TOFUDataModule", "--trainer.callbacks=ConflictMonitor"
    )
    assert config["model"]["class_path"] == "unlearn_pl.modules.GradDiff"
    assert config["data"]["class_path"] == "unlearn_pl.data.TOFUDataModule"
    assert config["trainer"]["callbacks"]["class_path"] == "unlearn_pl.callbacks.ConflictMonitor"


def test_arguments_deep_inside(parse):
    config = parse(
        *UNLEARNING,
        "--model.objectives.drift.stream=normal",
        "--model.combiner=MinNorm",
        "--model.combiner.normalization=none",
    )
    init_args = config["model"]["init_args"]
    assert init_args["objectives"]["drift"]["init_args"] == {"stream": "normal"}
    assert init_args["objectives"]["retain"]["init_args"] == {"stream": "retain"}
    assert init_args["combiner"]["class_path"].endswith("MinNorm")
    assert init_args["combiner"]["init_args"]["normalization"] == "none"


def test_defaults_of_one_optimizer_do_not_leak_into_another(parse, tmp_path):
    sgd = {"model": {"init_args": {"optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.5}}}}}
    (tmp_path / "sgd.yaml").write_text(yaml.safe_dump(sgd))
    composed = parse(*PRESET, "-c", str(tmp_path / "sgd.yaml"))["model"]["init_args"]["optimizer"]
    assert composed["class_path"] == "torch.optim.SGD"
    assert "betas" not in composed["init_args"]
    assert composed["init_args"]["weight_decay"] == 0.0  # AdamW's default is 0.01
    assert composed["init_args"]["lr"] == 0.5


def test_a_class_of_the_users_own(tmp_path, capsys):
    """The console script does not put the working directory on ``sys.path``; ``main`` does."""
    (tmp_path / "own_losses.py").write_text(
        "from unlearn_pl.objectives import CausalLMLoss\n\n"
        "class Doubled(CausalLMLoss):\n"
        "    def loss(self, view):\n"
        "        return 2 * super().loss(view)\n"
    )
    sys.path[:] = [path for path in sys.path if path != str(tmp_path)]
    with pytest.raises(SystemExit):
        main(["fit", *UNLEARNING, "--model.objectives.retain=own_losses.Doubled", "--print_config"])
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["model"]["init_args"]["objectives"]["retain"]["class_path"] == "own_losses.Doubled"


@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")  # has a list of its own
@pytest.mark.parametrize("path", ["os.system", "subprocess.call", "subprocess.Popen"])
def test_an_optimizer_that_is_none_is_not_called(path, tmp_path, capsys):
    optimizer = {"class_path": path, "init_args": {"command" if path == "os.system" else "args": "touch ran"}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"model": {"init_args": {"optimizer": optimizer}}}))
    with pytest.raises(SystemExit):
        main(["fit", *PRESET, "-c", str(tmp_path / "a.yaml"), f"--trainer.default_root_dir={tmp_path}"])
    assert not (tmp_path / "ran").exists()
    if path != "subprocess.Popen":  # a class that is no optimizer is the parser's to refuse
        assert f"optimizer is '{path}'; accepted: a subclass of torch.optim.Optimizer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "told"),
    [("--ckpt_path=http://127.0.0.1:9/a.ckpt", "Download it first"), ("--weights_only=false", "whatever code a check")],
)
def test_checkpoints_that_could_run_code_are_not_loaded(argument, told, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["test", *UNLEARNING, f"--trainer.default_root_dir={tmp_path}", argument])
    assert told in capsys.readouterr().err


# What a run leaves behind ---------------------------------------------------------------------------------------------


def test_files_of_a_run(run):
    files = {str(path.relative_to(run)) for path in run.rglob("*")}
    assert {"config_fit.yaml", "checkpoints/last.ckpt", "logs/version_0/metrics.csv", "hf/config.json"} <= files
    assert len([file for file in files if file.endswith(".ckpt")]) == 2
    assert (run / "checkpoints" / "last.ckpt").is_symlink()  # and not a second copy


def test_the_saved_configuration_is_the_resolved_one(run, parse):
    saved = yaml.safe_load((run / "config_fit.yaml").read_text())
    assert saved == parse(*UNLEARNING, f"--trainer.default_root_dir={run}")
    assert saved["model"]["init_args"]["optimizer"]["init_args"]["momentum"] == 0.0
    assert saved == parse("-c", str(run / "config_fit.yaml"))


def test_a_checkpoint_keeps_components_that_are_no_defaults(run):
    checkpoint = run / "checkpoints" / "last.ckpt"
    for cls in (UnlearningModule, LanguageModule, pl.LightningModule):
        module = cls.load_from_checkpoint(checkpoint)
        assert type(module) is UnlearningModule
        assert type(module.combiner) is DualBasis
        assert type(module.objectives["drift"]) is KLDivergenceLoss
        assert module.objectives["drift"].stream == "retain"
        assert module.mask.include == ["mlp"]
        assert module.schedule.warmup_epochs == 0.5
        optimizer = module.optimizer([torch.nn.Parameter(torch.zeros(1))])
        assert type(optimizer) is torch.optim.SGD
        assert optimizer.defaults["lr"] == 0.1
        for name, weight in weights(checkpoint).items():
            assert torch.equal(module.state_dict()[name], weight)


def test_a_checkpoint_keeps_a_preset(tmp_path, run):
    changed = ["--model.combiner.normalization=none", "--model.combiner.satisfied=0.25", f"--model.model={run / 'hf'}"]
    main(
        [
            "fit",
            *PRESET,
            f"--trainer.default_root_dir={tmp_path}",
            "--trainer.max_steps=1",
            *WITHOUT_EVALUATION,
            *changed,
        ]
    )
    module = UnlearningModule.load_from_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    assert type(module) is MOLLM
    assert type(module.combiner) is MinNorm
    assert module.hparams["combiner"]["init_args"]["normalization"] == "none"
    gramian = torch.tensor([[4.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    raw = (
        torch.tensor([1 / 4, 1.0, 1.0]).double() / 2.25
    )  # lambda_k ~ 1 / |g_k|^2; unit gradients would get 1/2 : 1 : 1
    torch.testing.assert_close(module.combiner(gramian, torch.ones(3)), raw)
    assert module.model_name == str(run / "hf")


def test_last_is_written_every_epoch_and_resumed(run, tmp_path):
    root = f"--trainer.default_root_dir={tmp_path}"
    main(["fit", *UNLEARNING, root, "--trainer.limit_val_batches=0", "--trainer.max_epochs=2", "--trainer.max_steps=3"])
    first = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert first["unlearn_pl"]["windows_closed"] == 3
    main(["fit", *UNLEARNING, root, "--trainer.limit_val_batches=0", "--ckpt_path=last"])
    with (tmp_path / "logs" / "version_1" / "metrics.csv").open() as file:
        assert next(csv.DictReader(file))["step"] == "4"
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["unlearn_pl"]["windows_closed"] == 6
    assert any(not torch.equal(last["state_dict"][name], w) for name, w in first["state_dict"].items())


def test_checkpoints_can_be_switched_off(tmp_path):
    off = ["--checkpoint.save_last=false", "--checkpoint.save_top_k=0", "--trainer.limit_val_batches=0"]
    main(["fit", *UNLEARNING, f"--trainer.default_root_dir={tmp_path}", "--trainer.max_steps=1", *off])
    assert not list(tmp_path.rglob("*.ckpt"))
    assert (tmp_path / "hf" / "config.json").exists()


# Which weights are evaluated ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", list(TRAINER_COMMANDS))
@pytest.mark.parametrize("ckpt_path", ["last", "nowhere/step=7.ckpt"])
def test_a_missing_checkpoint_is_an_error(command, ckpt_path, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([command, *UNLEARNING, f"--trainer.default_root_dir={tmp_path}", f"--ckpt_path={ckpt_path}"])
    assert exit_.value.code == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: --ckpt_path {ckpt_path}: there is no")


def test_test_evaluates_the_unlearned_weights(run, capsys):
    main(["test", *UNLEARNING, f"--trainer.default_root_dir={run}", "--ckpt_path=last"])
    results = read_results(run / "results.json")
    printed = capsys.readouterr().out
    assert f"Written to {run / 'results.json'}" in printed
    assert f"tofu/forget_probability {results.metrics['forget_probability']:.6g}" in " ".join(printed.split())
    unlearned = AutoModelForCausalLM.from_pretrained(run / "hf", dtype=torch.float32)
    assert results.weights_fingerprint == weights_fingerprint(unlearned)

    main(["test", *UNLEARNING, f"--trainer.default_root_dir={run}"])
    [other] = run.glob("results_*.json")
    assert f"Written to {other}" in capsys.readouterr().out
    assert read_results(other).weights_fingerprint != results.weights_fingerprint
    assert read_results(run / "results.json") == results  # those of another model are not replaced


def test_a_checkpoint_file_does_not_replace_the_configuration(run, tmp_path):
    checkpoint = next((run / "checkpoints").glob("epoch*.ckpt"))
    arguments = [
        f"--trainer.default_root_dir={tmp_path}",
        f"--ckpt_path={checkpoint}",
        "--model.max_new_tokens=2",
        "--verbose=false",
    ]
    main(["validate", *UNLEARNING, *arguments])
    config = yaml.safe_load((tmp_path / "config_validate.yaml").read_text())
    assert config["model"]["init_args"]["max_new_tokens"] == 2


def test_predict_writes_the_answers(run, capsys):
    main(["predict", *UNLEARNING, f"--trainer.default_root_dir={run}", "--ckpt_path=last"])
    assert f"Written to {run / 'predictions.jsonl'}" in capsys.readouterr().out
    lines = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    splits = ("forget", "real_authors", "retain", "world_facts")
    assert [(line["split"], line["index"]) for line in lines] == [(split, i) for split in splits for i in (0, 1)]
    assert all(line["question"] and line["answer"] and isinstance(line["prediction"], str) for line in lines)


def test_fit_writes_what_it_cost(run):
    cost = json.loads((run / "cost.json").read_text())
    assert (cost["steps"], cost["devices"], cost["device"], cost["peak_memory"]) == (6, 1, "cpu", None)
    assert cost["seconds"] > 0


def test_predictions_of_another_model_stay_apart(run, capsys):
    main(["predict", *UNLEARNING, f"--trainer.default_root_dir={run}", "--ckpt_path=last"])
    first = (run / "predictions.jsonl").read_text()
    changed = ["--model.max_new_tokens=1", "--model.model.seed=5"]
    main(["predict", *UNLEARNING, f"--trainer.default_root_dir={run}", *changed])
    [other] = run.glob("predictions_*.jsonl")
    assert f"Written to {other}" in capsys.readouterr().out
    assert (run / "predictions.jsonl").read_text() == first != other.read_text()


def test_main_gets_the_arguments_of_the_process(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["unlearn-pl", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert unlearn_pl.__version__ in capsys.readouterr().out
