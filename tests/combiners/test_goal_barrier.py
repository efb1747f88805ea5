"""The barrier's direction: its problem, its floor, where the pull is 0, and what changes nothing."""

import pytest
import torch

from tests.combiners.gradients import cases, ready
from unlearn_pl.combiners import GoalBarrier, MinNorm, PrimalDual, Scalarization
from unlearn_pl.goals import Standing


def standing(roles, distance=0.7, room=0.6):
    values = [distance if role == "forget" else room for role in roles]
    none = torch.zeros(len(roles), dtype=torch.bool)
    return Standing(torch.tensor(values, dtype=torch.float64), none, none)


def direction(roles, rows, combiner=None, distance=0.7, room=0.6):
    combiner = ready(combiner or GoalBarrier(gain=0.0), roles)
    combiner.aim(standing(roles, distance, room))
    return combiner(rows @ rows.T, torch.ones(len(roles))) @ rows


def unit_of(roles, rows, role):
    units = rows / rows.norm(dim=1, keepdim=True)
    total = units[[own == role for own in roles]].sum(dim=0)
    return total / total.norm()


@pytest.mark.parametrize(("distance", "room"), [(1.0, 1.0), (0.7, 0.6), (0.05, 1.0)])
def test_it_solves_its_problem(distance, room):
    """``d = argmin |d - u_r|^2 s.t. u_f . d >= pull``, by the conditions of Karush, Kuhn and Tucker."""
    for roles, rows in cases("plain", "conflict", "scales"):
        found = direction(roles, rows, distance=distance, room=room) / rows.norm(dim=1).mean()
        forget, retain = unit_of(roles, rows, "forget"), unit_of(roles, rows, "retain")
        pull = distance * room
        assert forget @ found >= pull - 1e-9
        multiplier = (found - retain) @ forget
        torch.testing.assert_close(found, retain + multiplier * forget, rtol=0, atol=1e-9)
        assert multiplier >= -1e-9
        assert abs(multiplier * (forget @ found - pull)) < 1e-9


def test_the_retain_side_rises_at_most_as_fast_as_the_room_allows():
    for roles, rows in cases(count=20):
        for distance, room in ((1.0, 1.0), (1.0, 0.1), (0.5, 0.5)):
            found = direction(roles, rows, distance=distance, room=room)
            if found.any() and all(rows.norm(dim=1) > 0):
                steepness = unit_of(roles, rows, "retain") @ found / rows.norm(dim=1).mean()
                assert steepness >= -distance * room - 1e-9 or steepness.isnan()


@pytest.mark.parametrize(("distance", "room"), [(0.0, 1.0), (-0.4, 1.0), (1.0, 0.0), (1.0, -2.0)])
def test_without_pull_it_is_a_retain_step(distance, room):
    for roles, rows in cases("plain", "conflict", "scales", count=3):
        found = direction(roles, rows, distance=distance, room=room)
        torch.testing.assert_close(found / found.norm(), unit_of(roles, rows, "retain"), rtol=0, atol=1e-9)


def test_scales_of_losses_and_order_change_nothing_but_the_length():
    for roles, rows in cases("plain", "conflict", count=3):
        found = direction(roles, rows)
        scaled = direction(roles, rows * torch.logspace(-2, 3, len(roles), dtype=torch.float64).unsqueeze(1))
        torch.testing.assert_close(scaled / scaled.norm(), found / found.norm(), rtol=0, atol=1e-9)
        order = torch.randperm(len(roles), generator=torch.Generator().manual_seed(0))
        turned = direction([roles[i] for i in order], rows[order])
        torch.testing.assert_close(turned, found, rtol=0, atol=1e-9)


def test_a_second_retain_objective_with_the_same_gradient_changes_nothing():
    for roles, rows in cases("plain", "conflict", count=3):
        k = roles.index("retain")
        only = [i for i, role in enumerate(roles) if role == "forget" or i == k]
        one = direction([roles[i] for i in only], rows[only])
        two = direction([*(roles[i] for i in only), "retain"], torch.cat([rows[only], 5 * rows[[k]]]))
        torch.testing.assert_close(two / two.norm(), one / one.norm(), rtol=0, atol=1e-9)


def test_forget_objectives_that_met_their_goals_are_left_out():
    roles = ["forget", "forget", "retain"]
    rows = torch.eye(3, 5, dtype=torch.float64)
    combiner = ready(GoalBarrier(gain=0.0), roles)
    none = torch.zeros(3, dtype=torch.bool)
    combiner.aim(Standing(torch.tensor([-0.1, 0.5, 0.8], dtype=torch.float64), none, none))
    assert combiner(rows @ rows.T, torch.ones(3)).tolist() == pytest.approx([0.0, 0.5 * 0.8, 1.0])


def test_the_integral_follows_its_formula_and_resumes():
    roles = ["forget", "retain"]
    rows = torch.eye(2, dtype=torch.float64)
    combiner, resumed = ready(GoalBarrier(gain=0.1, brake=0.3), roles), ready(GoalBarrier(gain=0.1, brake=0.3), roles)
    integral = 0.0
    for distance, room in ((1.0, 1.0), (0.8, 0.5), (-0.1, 1.0), (0.2, 1.0), (-0.9, 1.0), (0.1, 1.0)):
        integral = max(0.0, integral + (0.1 * distance * room if distance > 0 else 0.3 * distance))
        for each in (combiner, resumed):
            each.aim(standing(roles, distance, room))
        expected = max(0.0, (distance + integral) * room) if distance > 0 else 0.0
        assert combiner.pull == pytest.approx(expected)
        assert combiner(rows @ rows.T, torch.ones(2)).tolist() == pytest.approx([expected, 1.0])
        state = combiner.state_dict()
        resumed = ready(GoalBarrier(gain=0.1, brake=0.3), roles)
        resumed.load_state_dict(state)


def test_it_arrives_and_stays_on_a_problem_with_a_known_path():
    """Progress falls by .1 per unit of push; a proportional pull alone is still on its way after the same steps."""
    ends = {}
    for gain in (0.0, 0.1):
        combiner = ready(GoalBarrier(gain=gain, brake=0.3), ["forget", "retain"])
        rows, distance, lowest = torch.eye(2, dtype=torch.float64), 1.0, 1.0
        for _ in range(26):
            combiner.aim(standing(["forget", "retain"], distance, 1.0))
            distance -= 0.1 * combiner(rows @ rows.T, torch.ones(2))[0].item()
            lowest = min(lowest, distance)
        ends[gain] = distance, lowest
    assert ends[0.0][0] == pytest.approx(0.9**26, rel=1e-9)
    assert -0.05 < ends[0.1][1] <= ends[0.1][0] < 0.05


@pytest.mark.parametrize(
    "combiner", [Scalarization(), MinNorm(), PrimalDual(budget=1.0)], ids=lambda c: type(c).__name__
)
def test_every_rule_stops_at_its_goal_and_below_a_floor(combiner):
    roles = ["forget", "retain"]
    rows = torch.eye(2, dtype=torch.float64)
    ready(combiner, roles)
    met, broken = torch.tensor([True, False]), torch.tensor([False, True])
    none = torch.zeros(2, dtype=torch.bool)
    for stand, pulls in (((none, none), True), ((met, none), False), ((none, broken), False), ((none, none), True)):
        combiner.aim(Standing(torch.zeros(2, dtype=torch.float64), *stand))
        weights = combiner(rows @ rows.T, torch.ones(2))
        assert (weights[0] > 0) == pulls
        assert weights[1] > 0


@pytest.mark.parametrize(
    "arguments", [{"kappa": 0.0}, {"kappa": float("inf")}, {"gain": -1.0}, {"brake": float("nan")}]
)
def test_bad_arguments(arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} .*but"):
        GoalBarrier(**arguments)
