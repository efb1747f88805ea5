"""Distances from goals: the formula, hysteresis, levels, and what is an error before anything is trained."""

import math

import pytest
import torch

from unlearn_pl.goals import AtLeast, AtMost, Goals

NAN = math.nan


def goals(start=None, holdout=None, decay=0.0, rises=(False, True), **given):
    made = Goals(given, decay)
    made.setup(["forget", "retain"], ["forget", "retain"], list(rises))
    if start is not None or holdout is not None:
        made.begin(start or {}, holdout)
    return made


def readings(forget=(1.0, 0.5, NAN), retain=(1.0, 0.8, NAN)):
    return torch.tensor([forget, retain], dtype=torch.float64)


def test_the_distance_is_1_at_the_start_and_0_at_the_goal():
    course = goals({"forget": 0.8, "retain": 0.9}, holdout=0.36, forget=AtMost("holdout"), retain=AtLeast(share=0.9))
    for forget, retain in ((0.8, 0.9), (0.18, 0.81), (0.5, 0.85), (0.1, 0.7)):
        standing = course.update(readings((2.0, forget, NAN), (1.0, retain, NAN)))
        expected = [(forget - 0.18) / (0.8 - 0.18), (retain - 0.81) / (0.9 - 0.81)]
        torch.testing.assert_close(standing.distance, torch.tensor(expected, dtype=torch.float64))
    assert course.summary() == "forget 0.100 (goal <= 0.18), retain 0.700 (goal >= 0.81)"


def test_goals_are_logged_as_numbers_once_they_are_known():
    course = goals({"forget": 0.8}, holdout=0.36, forget=AtMost("holdout"))
    assert course.metrics() == {}
    course.update(readings((2.0, 0.49, NAN)))
    assert course.metrics() == pytest.approx({"train/goal/forget": 0.18, "train/distance/forget": 0.5})
    assert goals().metrics() == {}


def test_the_average_is_that_of_the_formula():
    course = goals({"forget": 1.0}, decay=0.5, forget=AtMost(0.0))
    values = [0.9, 0.4, 0.7]
    found = [course.update(readings((1.0, value, NAN))).distance[0].item() for value in values]
    expected = []
    for n in range(1, 4):
        weights = [0.5 ** (n - i) for i in range(n)]
        expected.append(sum(w * v for w, v in zip(weights, values, strict=False)) / sum(weights))
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_share_of_the_start_is_relative_to_the_reference_where_there_is_one():
    course = goals({"retain": 0.9}, retain=AtLeast(share=0.9))
    standing = course.update(readings(retain=(1.0, 0.3, 0.95)))  # a batch of hard examples, of which .95 is kept
    assert standing.distance[1].item() == pytest.approx(0.5)
    assert course.courses[1].absolute_bound == pytest.approx(0.81)
    alone = goals({"retain": 0.9}, retain=AtLeast(share=0.9)).update(readings(retain=(1.0, 0.855, NAN)))
    assert alone.distance[1].item() == pytest.approx(0.5)


def test_without_measured_levels_the_first_step_is_the_start():
    course = goals(forget=AtMost(share=0.1), retain=AtMost(loss=1.5))
    assert course.update(readings((1.0, 0.5, NAN), (0.5, 0.8, NAN))).distance.tolist() == pytest.approx([1.0, 1.0])
    assert course.update(readings((1.0, 0.05, NAN), (1.5, 0.8, NAN))).distance.tolist() == pytest.approx([0, 0])
    bare = goals(forget=AtMost(share=0.5), rises=(False, False))  # no progress: the loss
    bare.update(readings((4.0, NAN, NAN)))
    assert bare.update(readings((3.0, NAN, NAN))).distance[0].item() == pytest.approx(0.5)


def test_goals_that_rise_to_be_met_and_negative_losses():
    refusals = goals({"forget": 0.1}, rises=(True, True), forget=AtLeast(0.5))
    assert refusals.update(readings((1.0, 0.2, NAN))).distance[0].item() == pytest.approx(0.75)
    assert refusals.update(readings((1.0, 0.6, NAN))).met[0]
    ascent = goals(forget=AtMost(loss=-5.0))
    ascent.update(readings((-1.0, 0.5, NAN)))
    assert ascent.update(readings((-3.0, 0.5, NAN))).distance[0].item() == pytest.approx(0.5)


def test_hysteresis():
    course = goals({"forget": 1.0, "retain": 1.0}, forget=AtMost(0.0), retain=AtLeast(0.5))
    steps = [(0.05, 0.52), (0.0, 0.49), (0.05, 0.52), (0.11, 0.56), (0.05, 0.52)]
    found = [course.update(readings((1.0, f, NAN), (1.0, r, NAN))) for f, r in steps]
    assert [s.met[0].item() for s in found] == [False, True, True, False, False]
    assert [s.broken[1].item() for s in found] == [False, True, True, False, False]
    assert not any(s.met[1] or s.broken[0] for s in found)


def test_reached_needs_all_targets_and_all_floors():
    course = goals({"forget": 1.0, "retain": 1.0}, forget=AtMost(0.1), retain=AtLeast(0.5))
    assert not course.reached
    seen = []
    for forget, retain in ((0.5, 0.9), (0.05, 0.4), (0.05, 0.9)):
        course.update(readings((1.0, forget, NAN), (1.0, retain, NAN)))
        seen.append(course.reached)
    assert seen == [False, False, True]


def test_a_goal_that_is_met_at_the_start_is_met_before_the_first_step():
    course = goals({"forget": 0.1, "retain": 0.9}, forget=AtMost(0.2), retain=AtLeast(share=0.9))
    assert course.standing.met.tolist() == [True, False]
    assert course.update(readings((1.0, 0.1, NAN), (1.0, 0.9, NAN))).distance[0] < 0


@pytest.mark.parametrize(
    ("given", "start", "holdout", "message"),
    [
        (
            {"forget": AtMost("holdout")},
            {},
            None,
            r"no holdout level is known: the data has no holdout set .*\(holdout=\.\.\.\)\)\. Accepted",
        ),
        ({"forget": AtMost("holdout")}, {}, 0.004, r"the holdout level is 0\.004, too low .*AtMost\(share=0\.1\)"),
        ({"retain": AtLeast(0.9)}, {"retain": 0.8}, None, r"'retain' is AtLeast\(0\.9\), but it starts at 0\.8"),
        ({"never": AtMost(0.2)}, {}, None, r"goals name \['never'\], but the objectives are \['forget', 'retain'\]"),
        ({"forget": AtLeast(0.2)}, {}, None, "descending it lowers its progress. Accepted: AtMost"),
        ({"retain": AtMost(0.2)}, {}, None, "descending it raises its progress. Accepted: AtLeast"),
        ({"retain": AtLeast(loss=0.2)}, {}, None, "descending it lowers its loss. Accepted: AtMost"),
    ],
)
def test_goals_that_cannot_be(given, start, holdout, message):
    with pytest.raises(ValueError, match=message):
        goals(start, holdout, **given)


def test_a_floor_on_the_progress_of_an_objective_that_has_none():
    course = goals(retain=AtLeast(share=0.9))
    with pytest.raises(ValueError, match=r"no progress besides its loss. Accepted: AtMost\(loss=\.\.\.\)"):
        course.update(readings(retain=(1.0, NAN, NAN)))


def test_non_finite_steps_change_nothing():
    course = goals({"forget": 1.0}, decay=0.5, forget=AtMost(0.0))
    before = course.update(readings((1.0, 0.9, NAN))).distance.clone()
    after = course.update(readings((NAN, NAN, NAN), (1.0, 0.8, NAN))).distance
    assert torch.equal(before[0], after[0])


def test_the_state_resumes():
    given = {"forget": AtMost("holdout"), "retain": AtLeast(share=0.9)}
    steps = [readings((1.0, 0.7 - 0.1 * i, NAN), (1.0, 0.9, 1 - 0.03 * i)) for i in range(6)]
    whole = goals({"forget": 0.8}, 0.4, decay=0.5, **given)
    part = goals({"forget": 0.8}, 0.4, decay=0.5, **given)
    for step in steps[:3]:
        whole.update(step), part.update(step)
    resumed = goals(decay=0.5, **given)
    resumed.load_state_dict(part.state_dict())
    for step in steps[3:]:
        expected, found = whole.update(step), resumed.update(step)
        assert all(torch.equal(getattr(expected, n), getattr(found, n)) for n in ("distance", "met", "broken"))
    assert whole.summary() == resumed.summary()


def test_another_goal_keeps_the_start_and_measures_its_own_distance():
    before = goals({"forget": 0.8}, 0.4, forget=AtMost(0.4), retain=AtLeast(share=0.9))
    before.update(readings((1.0, 0.4, NAN), (1.0, 0.9, 1.0)))
    assert before.standing.met[0]
    resumed = goals(forget=AtMost(0.2), retain=AtLeast(share=0.9))
    resumed.load_state_dict(before.state_dict())
    standing = resumed.update(readings((1.0, 0.35, NAN), (1.0, 0.9, 1.0)))
    assert standing.distance[0].item() == pytest.approx((0.35 - 0.2) / (0.8 - 0.2))
    assert not standing.met[0]
