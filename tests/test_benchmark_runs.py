"""Whole runs from YAML on made-up data: a tiny model learns, forgets, and its benchmark's evaluation says so."""

import csv
from pathlib import Path

import pytest

from experiments.made_up_data import made_up_people, write_all
from unlearn_pl.cli import main
from unlearn_pl.results import read_results

ROOT = Path(__file__).parents[1] / "experiments"
METHODS = {"mollm": [], "npo": ["-c", str(ROOT / "methods" / "npo_tiny.yaml")]}
every_method = pytest.mark.parametrize("method", ["mollm", pytest.param("npo", marks=pytest.mark.slow)])
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
SELDOM = ["--trainer.check_val_every_n_epoch=10"]  # a validation takes longer than an epoch of training

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),  # see test_cli.py
    pytest.mark.filterwarnings("ignore:privleak compares with chance"),
    pytest.mark.filterwarnings(
        "ignore:(forget_quality|model_utility) is not computed"
    ),  # an own file has no such splits
]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made_up")
    write_all(folder, people=6)
    return folder


@pytest.fixture
def here(data, tmp_path, monkeypatch) -> Path:
    """A folder to run in, with the data where the recipes look for it."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(data)
    return tmp_path


def evaluated(folder: str, *arguments: str) -> dict[str, float]:
    """Fit, then the metrics of ``test``."""
    given = [*arguments, *QUIET, *SELDOM, f"--trainer.default_root_dir={folder}"]
    main(["fit", *given])
    main(["test", *given, "--ckpt_path=last"])
    return read_results(f"{folder}/results.json").metrics


def learned(benchmark: str, *arguments: str) -> dict[str, float]:
    """The metrics of the model of ``fine_tune.yaml``, which is then in ``runs/<benchmark>/target/hf``."""
    return evaluated(f"runs/{benchmark}/target", "-c", str(ROOT / benchmark / "fine_tune.yaml"), *arguments)


def unlearned(benchmark: str, method: str, *arguments: str) -> dict[str, float]:
    """The metrics after ``mollm.yaml``, with another method in the place of MOLLM where ``method`` names one."""
    recipe = str(ROOT / benchmark / "mollm.yaml")
    return evaluated(f"runs/{benchmark}/{method}", "-c", recipe, *METHODS[method], *arguments)


SMALL = "--model.model.init_args.hidden_size=64"
UNLEARN = ["--trainer.max_epochs=10"]


@every_method
def test_muse_passages_and_answers_are_forgotten(here, method):
    before = learned("muse", "--trainer.max_epochs=40", SMALL)
    assert min(before["verbmem_forget"], before["knowmem_forget"], before["knowmem_retain"]) > 0.8

    after = unlearned("muse", method, *UNLEARN)
    assert after["verbmem_forget"] < 0.5 * before["verbmem_forget"]
    assert after["knowmem_forget"] < 0.5 * before["knowmem_forget"]
    assert after["knowmem_retain"] > 0.8 * before["knowmem_retain"]


@every_method
def test_wmdp_letters_are_forgotten(here, method):
    before = learned("wmdp", SMALL)
    assert min(before["wmdp_bio_accuracy"], before["retain_bio_accuracy"]) > 0.8

    after = unlearned("wmdp", method, "--trainer.max_epochs=30")
    assert after["wmdp_bio_accuracy"] < 0.6 * before["wmdp_bio_accuracy"]
    assert after["retain_bio_accuracy"] > 0.8 * before["retain_bio_accuracy"]


@every_method
def test_harmful_answers_give_way_to_refusals(here, method):
    before = learned("preference", "--trainer.max_epochs=40", SMALL)
    assert min(before["forget_probability"], before["retain_probability"]) > 0.7
    assert before["forget_refusal_rate"] == 0
    assert abs(before["preference_margin"]) < 0.2

    after = unlearned("preference", method, *UNLEARN)
    assert after["forget_probability"] < 0.5 * before["forget_probability"]
    assert after["retain_probability"] > 0.8 * before["retain_probability"]
    assert after["forget_refusal_rate"] > 0.5
    assert after["preference_margin"] > before["preference_margin"] + 0.2


TINY = """
trainer: {accelerator: cpu, devices: 1, precision: 32-true}
model:
  init_args:
    model:
      class_path: unlearn_pl.models.tiny_llama
      init_args: {vocab_size: 512, hidden_size: 64}
    optimizer: {init_args: {lr: 3.0e-3}}
data:
  init_args:
    tokenizer:
      class_path: unlearn_pl.data.train_tokenizer_on
      init_args: {paths: [tickets], vocab_size: 512}
"""


@every_method
def test_answers_of_a_csv_file_are_forgotten(here, method):
    Path("tickets").mkdir()
    for name, people in made_up_people(10, seed=0).items():
        with open(f"tickets/{name}.csv", "w", encoding="utf-8", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["question", "answer"])
            lines.writerows(
                [f"Who is {p['name']}?", f"A {p['work']} from {p['city']}, with a {p['award']}."] for p in people
            )
    Path("tiny.yaml").write_text(TINY)
    small = ["--data.batch_size=5", "--data.micro_batch_size=5"]
    recipe = ["-c", str(ROOT / "text" / "fine_tune.yaml"), "-c", "tiny.yaml", *small]
    before = evaluated("runs/text/target", *recipe, "--trainer.max_epochs=60")
    assert min(before["forget_probability"], before["retain_probability"]) > 0.7

    cpu = ["--trainer.accelerator=cpu", "--trainer.precision=32-true", "--model.optimizer.lr=1e-3", *small]
    after = unlearned("text", method, "--trainer.max_epochs=20", *cpu)
    assert after["forget_probability"] < 0.5 * before["forget_probability"]
    assert after["retain_probability"] > 0.8 * before["retain_probability"]
