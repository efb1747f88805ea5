"""What the study of combiners computes, and that its arms are the rules that they are called after."""

import itertools
import random
from statistics import mean

import pytest
import torch

from experiments.studies.combiners.analysis import best_rate, forget_score, front, hypervolume, paired_interval
from experiments.studies.combiners.arms import PROBLEMS, FixedWeights, Multiplier, SatisfiedWeights, arms
from experiments.studies.combiners.report import tuned
from unlearn_pl.combiners import PrimalDual, Scalarization

NAMES, ROLES = ["forget", "normal", "retain"], ["forget", "retain", "retain"]


@pytest.mark.parametrize("size", [1, 2, 5, 12])
def test_hypervolume_counts_the_cells_that_some_point_dominates(size: int) -> None:
    rng = random.Random(size)
    n = 20
    points = [(rng.randint(0, n), rng.randint(0, n)) for _ in range(size)]
    cells = sum(any(x > i and y > j for x, y in points) for i, j in itertools.product(range(n), repeat=2))
    assert hypervolume([(x / n, y / n) for x, y in points]) == pytest.approx(cells / n**2)


def test_hypervolume_of_no_point_and_of_points_on_the_axes_is_zero() -> None:
    assert hypervolume([]) == hypervolume([(1.0, 0.0), (0.0, 1.0)]) == 0.0


def test_front_is_what_no_other_point_dominates() -> None:
    rng = random.Random(1)
    points = [(rng.random(), rng.random()) for _ in range(30)]
    free = {p for p in points if not any(q[0] > p[0] and q[1] > p[1] for q in points)}
    assert set(front(points)) == free
    assert hypervolume(front(points)) == pytest.approx(hypervolume(points))


def test_interval_agrees_with_all_resamples_of_four_differences() -> None:
    differences = [0.1, -0.2, 0.35, 0.6]
    exact = sorted(mean(sample) for sample in itertools.product(differences, repeat=4))
    low, high = paired_interval(differences, level=0.8, resamples=40_000)
    assert low == pytest.approx(exact[int(0.1 * len(exact))], abs=0.02)
    assert high == pytest.approx(exact[int(0.9 * len(exact))], abs=0.02)


def test_interval_is_a_point_where_all_seeds_agree() -> None:
    assert paired_interval([0.25] * 5, resamples=100) == (0.25, 0.25)


def test_forget_score_runs_from_the_target_to_the_retain_model() -> None:
    assert forget_score(-8.0, -8.0) == 0.0
    assert forget_score(-2.0, -8.0) == 0.75
    assert forget_score(0.0, -8.0) == 1.0
    assert forget_score(-20.0, -8.0) == 0.0  # further away than the target


def test_rates_are_tuned_on_tuning_seeds_only() -> None:
    figures = {("a", 1.0): (0.9, 0.1), ("a", 2.0): (0.2, 0.8)}  # the best one on tuning seeds, and on the other ones
    trials = [
        {"arm": arm, "rate": rate, "seed": seed, "forget_score": values[seed], "utility": 1.0}
        for (arm, rate), values in figures.items()
        for seed in (0, 1)
    ]
    assert [(t["rate"], t["seed"]) for t in tuned(trials, [0], [1])] == [(1.0, 1)]
    assert [best_rate(trials, "a", [seed]) for seed in (0, 1)] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("measured", "plain"),
    [
        (FixedWeights({"forget": 0.25}), Scalarization({"forget": 0.25})),
        (Multiplier(0.2, 5.0), PrimalDual(0.2, 5.0)),
    ],
)
def test_rows_do_not_change_the_weights(measured: FixedWeights | Multiplier, plain: Scalarization | PrimalDual) -> None:
    generator = torch.Generator().manual_seed(0)
    for combiner in (measured, plain):
        combiner.setup(NAMES, ROLES)
    before = torch.full((3,), torch.nan)  # as the engine calls a rule on losses: with those of the step before
    for _ in range(5):
        losses, rows = torch.rand(3, generator=generator), torch.randn(3, 7, generator=generator)
        assert torch.equal(measured(rows @ rows.T, losses), plain(None, before))
        before = losses


def test_satisfied_weights_are_fixed_until_the_forget_loss_is_satisfied() -> None:
    combiner = SatisfiedWeights(4.0, satisfied=0.1)
    combiner.setup(NAMES, ROLES)
    rows = torch.randn(3, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert combiner(rows @ rows.T, torch.tensor([0.5, 0.1, 0.1])).tolist() == pytest.approx([4.0, 1.0, 1.0])
    for _ in range(30):
        weights = combiner(rows @ rows.T, torch.tensor([0.01, 0.1, 0.1]))
    assert weights.tolist() == pytest.approx([0.0, 1.0, 1.0])


@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_arm_makes_a_new_combiner_for_the_objectives(problem: str) -> None:
    names, roles = (NAMES, ROLES) if problem == "mollm" else (["forget", "retain"], ["forget", "retain"])
    rows = torch.randn(len(names), 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for make in arms(PROBLEMS[problem]).values():
        combiner = make()
        assert combiner is not make()
        combiner.setup(names, roles)
        weights = combiner(rows @ rows.T, torch.ones(len(names)))
        assert weights.shape == (len(names),)
        assert weights.isfinite().all()
