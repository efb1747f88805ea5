import pytest

from experiments.studies.markov_chains.trial import Trial

RETRAINED = {"retain": 0.0, "forget1": 0.4, "forget2": 0.6}


def trial(*points: tuple[float, float, float]) -> Trial:
    path = [{"step": 2 * i, "retain": r, "forget1": f, "forget2": g} for i, (r, f, g) in enumerate(points)]
    return Trial("length", "NPO", 0, 0, path, RETRAINED, 1.0)


def test_costs_are_read_off_straight_lines_between_measurements():
    run = trial((0.0, 0.0, 0.0), (0.1, 0.2, 0.5), (0.3, 0.6, 0.7))
    assert run.cost_of(["forget1"]) == pytest.approx(0.2)  # halfway from .2 to .6
    assert run.cost_of(["forget2"]) == pytest.approx(0.2)  # halfway from .5 to .7
    assert run.cost_of(["forget1", "forget2"]) == pytest.approx(0.2)


def test_both_are_forgotten_when_the_later_one_is():
    run = trial((0.0, 0.0, 0.0), (0.1, 0.8, 0.2), (0.5, 0.8, 0.6), (0.9, 0.8, 0.9))
    assert run.cost_of(["forget1"]) == pytest.approx(0.05)
    assert run.cost_of(["forget1", "forget2"]) == pytest.approx(run.cost_of(["forget2"])) == pytest.approx(0.5)


def test_what_is_never_forgotten_has_no_cost():
    run = trial((0.0, 0.0, 0.7), (0.1, 0.39, 0.7))
    assert run.cost_of(["forget1"]) is run.best() is None
    assert run.cost_of(["forget2"]) == 0.0  # from the beginning


def test_best_is_the_least_distance_after_both_are_forgotten():
    run = trial((0.0, 0.0, 0.0), (0.3, 0.5, 0.7), (0.1, 0.4, 0.6), (0.02, 0.3, 0.6))
    assert run.best() == 0.1


def test_gap_is_read_off_the_first_line_that_reaches_the_distance():
    run = trial((0.0, 0.0, 0.0), (0.2, 0.9, 0.5), (0.1, 0.0, 9.0))
    assert run.gap_at(0.1) == pytest.approx(0.2)
    assert run.gap_at(0.3) is None
