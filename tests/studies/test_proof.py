"""The table of the study of proof, on results that were made up."""

import json
from functools import partial
from statistics import fmean

import pytest

from experiments.studies.goals.smollm2 import RECIPES
from experiments.studies.proof import attacked, smollm2, smollm2_attacked
from experiments.studies.proof.study import RETAIN, TARGET, ProofWorld
from experiments.studies.proof.table import COLUMNS, added_columns, cell, draw, print_table, values_of
from tests import kit
from tests.data.benchmarks.benchmark_folders import write
from unlearn_pl.commands.trainer import trainer_parser
from unlearn_pl.models import save_pretrained, tiny_llama
from unlearn_pl.results import Results, write_results
from unlearn_pl.robustness import LogitLens, RandomFraction, RelearningSweep


def results(file: str, seed: int, shift: float) -> Results:
    table = {}
    for name, split, score in COLUMNS.values():
        if name == file:
            table.setdefault(split, {})[score] = {i: shift + 0.1 * seed + 0.01 * i for i in range(3)}
    hashes = {"config_hash": "0", "weights_fingerprint": "0"}
    return Results(benchmark=file, metrics={}, per_example=table, config={}, model="made up", **hashes)


@pytest.fixture
def root(tmp_path):
    for seed in range(2):
        for arm, shift in (("retain_model", 0.5), ("NPO", 0.1)):
            for file in ("tofu", "uds"):
                write_results(tmp_path / f"seed{seed}/{arm}/{file}.json", results(file, seed, shift))
    lines = [{"arm": "NPO", "seed": 0, "relearned": 0.2}, {"arm": "NPO", "seed": 1, "relearned": 0.4}]
    (tmp_path / "columns_attacks.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


def test_columns_of_all_seeds_and_of_others(root, capsys):
    assert values_of(root, "NPO", "UDS") == pytest.approx([0.1, 0.11, 0.12, 0.2, 0.21, 0.22])
    assert added_columns(root) == {"relearned": {"NPO": [0.2, 0.4]}}
    print_table(root, ["retain model", "NPO", "RMU"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("| retain leak@1 | relearned |")
    assert lines[2].startswith("| retain model | 0.560 [")
    assert lines[2].endswith("| - |")
    assert lines[3].endswith("| 0.300 |")
    assert lines[4] == "| RMU |" + " - |" * (len(COLUMNS) + 1)
    assert cell([0.25, 0.25]) == "0.250 [0.250, 0.250]"


def test_the_picture_has_what_was_measured(root):
    draw(root, ["retain model", "NPO", "RMU"], str(root / "picture.png"))
    assert (root / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_models_are_attacked_once(tmp_path, monkeypatch):
    few = {"forget_authors": 1, "retain_authors": 1}
    monkeypatch.setattr(attacked, "ProofWorld", partial(ProofWorld, **few))
    monkeypatch.setattr(attacked, "ARMS", ["NPO"])
    world = ProofWorld(tmp_path / "seed0", 0, num_layers=4, **few)
    tokenizer = world.data.tokenizer
    save_pretrained(tiny_llama(len(tokenizer), num_layers=4), tmp_path / "seed0/NPO/hf", tokenizer)
    attacked.study(str(tmp_path), seeds=1)
    written = (tmp_path / "columns_attacked.jsonl").read_text()
    (row,) = map(json.loads, written.splitlines())
    assert set(row) == {"arm", "seed", *attacked.SCORES}
    assert all(0 <= row[title] <= 1 for title in attacked.SCORES)
    attacked.study(str(tmp_path), seeds=1)
    assert (tmp_path / "columns_attacked.jsonl").read_text() == written


@pytest.mark.slow
def test_a_method_lies_between_the_two_ends(tmp_path):
    world = ProofWorld(tmp_path / "seed0", 0, num_layers=4)
    for arm in (TARGET, RETAIN, "GradDiff"):
        world.measure(arm)
    arms, columns = (TARGET, RETAIN, "GradDiff"), ("UDS", "leak@16")
    depth, leaks = ({arm: fmean(values_of(tmp_path, arm, column)) for arm in arms} for column in columns)
    assert depth[TARGET] == 0 < depth["GradDiff"] < depth[RETAIN] == 1
    assert leaks["GradDiff"] < leaks[TARGET]
    assert (tmp_path / "seed0/GradDiff/hf/model.safetensors").exists()


def test_smollm2_is_attacked_once_and_shown_beside_its_depth(tmp_path, monkeypatch, capsys):
    sweep = RelearningSweep([RandomFraction(0.5)], [1e-4, 1e-3], steps=2, evaluate_every=1, batch_size=1)
    monkeypatch.setattr(smollm2_attacked, "ATTACKS", {"relearned": sweep, "lens": LogitLens([1])})
    for name in ("forget05", "forget05_perturbed", "retain95", "retain_perturbed"):
        others = {"paraphrased_answer": "So it is.", "perturbed_answer": ["No.", "Never."]}
        write(tmp_path / f"tofu/{name}.json", [row | others for row in kit.rows(name, 4)], lines=True)
    save_pretrained(kit.model(), tmp_path / "models/target/hf", kit.tokenizer())
    write_results(
        tmp_path / "out/target/uds.json",
        Results("uds", {}, {"forget": {"uds": {0: 0.5, 1: 1.0}}}, {}, "0", "0", "made up"),
    )
    given = {"folder": str(tmp_path / "models"), "output": str(tmp_path / "out"), "questions": 2}
    given |= {"runs": ["target", "NPO"], "attacks": ["relearned", "lens"], "figure": str(tmp_path / "bars.png")}
    monkeypatch.setattr(smollm2_attacked, "weights", lambda models, place, run: str(models / "target/hf"))
    smollm2_attacked.study(str(tmp_path / "tofu"), **given)
    written = (tmp_path / "out/attacked.jsonl").read_text()
    rows = {(row["run"], row["attack"]): row for row in map(json.loads, written.splitlines())}
    assert len(rows) == 4
    relearned = rows["target", "relearned"]
    assert fmean(relearned["questions"]) == pytest.approx(relearned["after"]["forget_probability"])
    assert relearned["after"]["forget_probability_fixed_within"] <= relearned["after"]["forget_probability"]
    assert relearned["after"]["utility_loss"] <= 0.1
    smollm2_attacked.study(str(tmp_path / "tofu"), **given)
    assert (tmp_path / "out/attacked.jsonl").read_text() == written
    lines = capsys.readouterr().out.splitlines()[-4:]
    assert lines[0] == "| model | P(forget) | leak@1 | leak@8 | UDS | relearned | fixed | lens |"
    assert lines[2].startswith("| target | - | - | - | 0.750 [0.500, 1.000] | ")
    assert lines[3].startswith("| NPO | - | - | - | - | 0.")
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("method", smollm2.METHODS)
def test_the_recipes_of_smollm2_are_valid_and_at_one_rate(tmp_path, method):
    arm = smollm2.recipe(method, tmp_path)
    files = [part for recipe in arm.recipes for part in ("-c", str(RECIPES / recipe))]
    config = trainer_parser().parse_args(["fit", *files, *arm.arguments], _skip_validation=True).fit
    assert config.model.class_path.endswith(f".{method}")
    assert config.model.init_args.optimizer.init_args.lr == 2e-4
    assert config.model.init_args.model == str(tmp_path / "target/hf")
    assert config.trainer.max_epochs == 2
