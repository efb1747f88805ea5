"""The study from end to end at a very small scale, and (slow) that it shows what the paper claims."""

import json
from pathlib import Path
from statistics import mean

import pytest
import torch

from experiments.studies.markov_chains.arms import CHANCE, METHODS, WEIGHTS, arms
from experiments.studies.markov_chains.experiment import EXPERIMENTS, Scale
from experiments.studies.markov_chains.kl_path import chain_distances
from experiments.studies.markov_chains.picture import plot
from experiments.studies.markov_chains.study import Runner, run_trial
from experiments.studies.markov_chains.tables import print_tables
from experiments.studies.markov_chains.world import World
from unlearn_pl.cli import main

RECIPES = Path(__file__).parents[3] / "experiments" / "studies" / "markov_chains"
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


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Runner:
    """All arms of both experiments, run once."""
    runner = Runner(tmp_path_factory.mktemp("study"), scale=TINY)
    runner.run([0], [0])
    return runner


def test_every_arm_leaves_a_path(finished):
    assert {trial.key for trial in finished.trials} == {(e, arm, 0, 0) for e in EXPERIMENTS for arm in arms(e)}
    for trial in finished.trials:
        assert [point["step"] for point in trial.path] == [0, 2, 3]
        assert all(value >= 0 for point in trial.path for value in point.values())
    starts = {(t.experiment, *(t.path[0][chain] for chain in t.retrained)) for t in finished.trials}
    assert len(starts) == 2  # all arms of an experiment begin with the same model
    assert len({t.end["forget1"] for t in finished.trials if t.experiment == "length"}) > len(METHODS | WEIGHTS) // 2


def test_finished_trials_are_not_run_again(finished, monkeypatch):
    monkeypatch.setattr(World, "unlearn", lambda *_: pytest.fail("ran again"))
    again = Runner(finished.folder, scale=TINY)
    again.run([0], [0])
    assert [trial.key for trial in again.trials] == [trial.key for trial in finished.trials]


def test_trials_do_not_depend_on_what_was_run_before(finished, tmp_path):
    alone = run_trial(tmp_path, "memorization", "NPO + retain", 0, 0, TINY)
    (same,) = (trial for trial in finished.trials if trial.key == alone.key)
    assert alone.path == same.path
    other = run_trial(tmp_path, "memorization", "NPO + retain", 0, 1, TINY)
    assert other.path[0] == same.path[0]
    assert other.path[-1] != same.path[-1]


def test_tables_and_picture(finished, tmp_path, capsys):
    print_tables(finished.trials)
    printed = capsys.readouterr().out
    assert all(f"| {arm} |" in printed for arm in METHODS | WEIGHTS)
    plot(finished.trials, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert [json.loads(line)["arm"] for line in (finished.folder / "trials.jsonl").read_text().splitlines()]


def test_the_path_is_that_of_the_model(finished):
    world = World(finished.folder, "length", 0, scale=TINY)
    module = METHODS["SimNPO + retain"](world)
    path = world.unlearn(module)
    loaders = world.data.val_dataloader()
    distances = [chain_distances(model, loaders) for model in (world.pretrained(), module.model)]
    for point, expected in zip((path[0], path[-1]), distances, strict=True):
        assert {chain: point[chain] for chain in expected} == expected
    assert distances[0] != distances[1]


def test_the_retrained_model_saw_the_retain_chain_alone(finished):
    states = [torch.load(finished.folder / "seed0" / f"{name}.pt") for name in ("length", "memorization", "retrained")]
    weights = [state["lm_head.weight"] for state in states]
    assert not any(torch.equal(weights[i], weights[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_forget_loss_of_a_guess():
    assert pytest.approx(0.05129329438755058) == CHANCE  # -log(.95)


def test_unknown_experiments_are_refused(tmp_path):
    with pytest.raises(ValueError, match="accepted are \\['length', 'memorization'\\]"):
        World(tmp_path, "size", 0)


@pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")  # see test_cli.py
def test_recipes_lead_from_one_to_the_next(tmp_path, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # seed_everything sets it; restored afterwards
    monkeypatch.chdir(tmp_path)
    small = ["--data.retain_sequences=80", "--data.forget_sequences=40", "--data.max_eval_examples=4"]
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    main(["fit", "-c", str(RECIPES / "train.yaml"), "--trainer.max_epochs=1", *small, *quiet])
    main(["fit", "-c", str(RECIPES / "mollm.yaml"), "--trainer.max_steps=2", *small, *quiet])
    logged = (tmp_path / "runs/markov_chains/mollm/logs/version_0/metrics.csv").read_text()
    assert "val/kl/forget2" in logged
    assert (tmp_path / "runs/markov_chains/mollm/hf/model.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("experiment", "factor"), [("length", 2.0), ("memorization", 1.2)])
def test_simnpo_pays_less_than_npo_for_the_chain_that_is_hard_to_forget(experiment, factor, tmp_path):
    half = Scale(retain_sequences=5_000, forget_sequences=2_500, steps=30, measured=tuple(range(30)), test_sequences=60)
    chains = (EXPERIMENTS[experiment].target,)
    costs = {
        arm: [run_trial(tmp_path, experiment, arm, 0, order, half).cost_of(chains) for order in range(3)]
        for arm in ("NPO", "SimNPO")
    }
    assert mean(costs["NPO"]) > factor * mean(costs["SimNPO"]), costs
