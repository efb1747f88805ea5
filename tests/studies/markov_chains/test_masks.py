"""NPO on selected weights: a tiny run of the study, and its table."""

import pytest

from experiments.studies.markov_chains.experiment import Scale
from experiments.studies.markov_chains.masks import Trials, arms, print_table, unlearn
from experiments.studies.markov_chains.world import World

TINY = Scale(
    retain_sequences=320,
    forget_sequences=320,
    hidden_size=8,
    num_layers=1,
    train_epochs=1,
    steps=3,
    test_sequences=4,
    measured=(0, 2),
)


def test_arms_train_their_share_of_the_weights(tmp_path):
    world = World(tmp_path, "length", seed=0, scale=TINY)
    for arm in ("dense", "SNIP, 5 %", "Random, 5 %"):
        row = unlearn(world, arm, arms(0)[arm], calibration_steps=2)
        assert all(row[chain] > 0 for chain in ("retain", "forget1", "forget2"))
        assert row["share"] == pytest.approx(1.0 if arm == "dense" else 0.05, abs=1e-3)


def test_trials_are_kept_and_summarized(tmp_path, capsys):
    trials = Trials(tmp_path / "masks.jsonl")
    for seed, few in ((0, 1.0), (1, 1.8)):
        trials.add({"arm": "dense", "seed": seed, "share": 1.0, "retain": 0.5, "forget1": 2.0, "forget2": 3.0})
        trials.add({"arm": "few", "seed": seed, "share": 0.05, "retain": 0.25, "forget1": few, "forget2": 1.0})
    capsys.readouterr()
    again = Trials(tmp_path / "masks.jsonl")
    assert ("few", 1) in again
    assert ("few", 2) not in again
    print_table(list(again))
    assert "| few | 0.050 | 0.250 | 1.400 | 1.000 | 70 % (50 % to 90 %) |" in capsys.readouterr().out
