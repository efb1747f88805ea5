"""The table of the study of proof, on results that were made up."""

import json
from functools import partial
from statistics import fmean

import pytest

from experiments.studies.proof import attacked
from experiments.studies.proof.study import RETAIN, TARGET, ProofWorld
from experiments.studies.proof.table import COLUMNS, added_columns, cell, draw, print_table, values_of
from unlearn_pl.models import save_pretrained, tiny_llama
from unlearn_pl.results import Results, write_results


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
