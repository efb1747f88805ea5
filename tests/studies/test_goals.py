"""The study of goals: what its rivals compute, and how regret is counted."""

import pytest
import torch

from experiments.studies.goals.problems import FactsOfTheSamePeople
from experiments.studies.goals.regret_tables import Table, interval, two_sided
from experiments.studies.goals.rivals import FAMO, AugmentedLagrangian, DynamicBarrier, SmoothTchebycheff, project
from unlearn_pl.combiners import Combiner
from unlearn_pl.goals import Standing

NAMES, ROLES = ["forget", "retain"], ["forget", "retain"]


def trial(problem: str, arm: str, seed: int, value: float) -> dict[str, object]:
    """A trial whose two-sided measure is ``value``."""
    figures = {"forget_probability": 0.1, "retrained_probability": 0.1, "utility": value}
    return {"problem": problem, "arm": arm, "rate": 0.001, "seed": seed, **figures}


def ready(combiner: Combiner, *distances: float) -> Combiner:
    combiner.setup(NAMES, ROLES)
    none = torch.zeros(2, dtype=torch.bool)
    if distances:
        combiner.aim(Standing(torch.tensor(distances, dtype=torch.float64), none, none))
    return combiner


def test_a_projected_step_is_the_nearest_one_that_raises_no_remembered_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    step, normals = torch.randn(3, generator=generator), torch.randn(2, 3, generator=generator)
    projected = project(step, normals, sweeps=500)
    assert (normals @ projected <= 1e-4).all()
    candidates = step + 2 * torch.randn(200_000, 3, generator=generator)
    feasible = candidates[(candidates @ normals.T <= 0).all(dim=1)]
    assert (projected - step).norm() <= (feasible - step).norm(dim=1).min() + 1e-4


def test_a_step_without_conflict_is_kept() -> None:
    step, normal = torch.tensor([-1.0, 2.0]), torch.tensor([[1.0, 0.0]])
    torch.testing.assert_close(project(step, normal), step)


def test_the_dynamic_barrier_descends_the_retain_loss_as_its_own_gradient_does() -> None:
    rows = torch.tensor([[1.0, 0.0], [-2.0, 1.0]], dtype=torch.float64)
    weights = ready(DynamicBarrier())(rows @ rows.T, torch.ones(2))
    assert (rows[1] @ (weights @ rows)).item() == pytest.approx(5.0)


def test_the_lagrangian_pulls_less_near_the_goal_and_not_beyond_it() -> None:
    far, near, beyond = (
        ready(AugmentedLagrangian(), distance, 1.0)(None, torch.ones(2)) for distance in (1.0, 0.2, -0.2)
    )
    assert far[0] > near[0] > beyond[0] == 0
    assert far[1] == near[1] == beyond[1] == 1


def test_the_worst_loss_gets_the_weight_of_smooth_tchebycheff() -> None:
    combiner = ready(SmoothTchebycheff())
    combiner(None, torch.tensor([2.0, 2.0]))
    weights = combiner(None, torch.tensor([2.0, 1.0]))
    assert weights[0] > weights[1]
    assert weights.mean().item() == pytest.approx(1.0)


def test_famo_weighs_the_loss_that_fell_less() -> None:
    combiner = ready(FAMO())
    for losses in ([2.0, 2.0], [1.9, 1.0], [1.8, 0.5], [1.7, 0.25]):
        weights = combiner(None, torch.tensor(losses))
    shares = weights * torch.tensor([1.7, 0.25])
    assert shares[0] > shares[1]


def test_the_measure_punishes_both_directions_alike() -> None:
    above, below = trial("p", "a", 0, 0.8), trial("p", "a", 0, 0.8)
    above["forget_probability"], below["forget_probability"] = 0.2, 0.05
    assert two_sided(above) == pytest.approx(two_sided(below)) == pytest.approx(0.4)
    above["forget_probability"] = float("nan")
    assert two_sided(above) == 0


def test_regret_is_counted_against_the_weight_that_is_best_in_each_cell() -> None:
    trials = [
        trial("p", "weight 1", 0, 0.5), trial("p", "weight 1", 1, 0.7), trial("p", "weight 2", 0, 0.4),
        trial("p", "weight 2", 1, 0.4), trial("p", "mine", 0, 0.6), trial("p", "mine", 1, 0.6),
        trial("q", "weight 1", 0, 0.1), trial("q", "weight 2", 0, 0.9), trial("q", "mine", 0, 0.8),
    ]  # fmt: skip
    table = Table(trials, two_sided)
    regret = table.regret("mine", table.best_weight)
    assert regret[("p", 0.001)] == pytest.approx({0: -0.1, 1: 0.1})
    assert regret[("q", 0.001)] == pytest.approx({0: 0.1})
    assert table.weight_from_elsewhere(("p", 0.001)) == "weight 2"  # the best on q
    assert interval({("p", 0.001): {0: 0.25, 1: 0.25}}) == (0.25, 0.25)


def test_the_same_people_are_in_both_halves_and_no_fact_is() -> None:
    data = FactsOfTheSamePeople(forget_authors=2, retain_authors=2, holdout_authors=1)
    forget, retain = (data.load_streams()[name] for name in ("forget", "retain"))
    asked = [{str(row["question"]) for row in rows} for rows in (forget, retain)]
    assert len(asked[0]) == len(asked[1]) == 20
    assert not asked[0] & asked[1]
    for rows in (data.facts.forget, data.facts.retain):
        for start in (0, 10):
            author = {str(row["question"]) for row in rows[start : start + 10]}
            assert len(author & asked[0]) == len(author & asked[1]) == 5
