"""Sets of coordinates: how many in each parameter, and when they are drawn again."""

import pytest
import torch

from tests.gradients.zeroth_order_kit import Quadratics, classifier_case
from unlearn_pl.combiners import MinNorm
from unlearn_pl.engine import Descent
from unlearn_pl.gradients import CoordinateWise, GraspCoordinates, RandomCoordinates, Replay
from unlearn_pl.gradients.zeroth_order.coordinates import shared_out


@pytest.mark.parametrize(
    ("count", "shares", "sizes", "expected"),
    [
        (10, {"a": 1, "b": 3}, {"a": 100, "b": 300}, {"a": 2, "b": 8}),
        (3, {"a": 1, "b": 1}, {"a": 2, "b": 2}, {"a": 2, "b": 1}),
        (9, {"a": 5, "b": 1}, {"a": 4, "b": 100}, {"a": 4, "b": 5}),
        (5, {"a": 1, "b": 0}, {"a": 2, "b": 9}, {"a": 2, "b": 3}),
        (99, {"a": 1, "b": 1}, {"a": 2, "b": 3}, {"a": 2, "b": 3}),
        (1, {"a": 0, "b": 0}, {"a": 0, "b": 3}, {"a": 0, "b": 1}),
    ],
)
def test_numbers_are_divided_in_proportion(count, shares, sizes, expected):
    assert shared_out(count, shares, sizes) == expected


def test_coordinates_are_drawn_again_after_some_steps():
    objectives, runtime, window = classifier_case()
    descent = Descent(objectives, MinNorm(), gradient=CoordinateWise(RandomCoordinates(20, redraw_every=2)))
    chosen = []
    for _ in range(4):
        descent.step(window, runtime)
        chosen.append(torch.cat([p.grad.flatten() != 0 for p in runtime.parameters]))
    assert all(marks.sum() == 20 for marks in chosen)
    assert torch.equal(chosen[0], chosen[1])
    assert torch.equal(chosen[2], chosen[3])
    assert not torch.equal(chosen[0], chosen[2])
    share = chosen[0][: runtime.parameters[0].numel()].sum().item()
    assert share == pytest.approx(20 * runtime.parameters[0].numel() / len(chosen[0]), abs=1)


def exact_counts(case, count):
    hessian = sum(objective.matrix for objective in case.objectives.values())
    scores = case.x.detach() * (hessian @ case.jacobian().sum(dim=0))
    best = scores.topk(count).indices
    return {"0": int((best < 2).sum()), "1": int((best >= 2).sum())}


def test_grasp_counts_the_weights_that_lengthen_the_gradient():
    found = []
    for scale in (1.0, 0.0):  # weights of 0 have no effect
        case = Quadratics()
        with torch.no_grad():
            case.parameters[0].mul_(scale)
        before = case.x.detach().clone()
        coordinates = GraspCoordinates(1, queries=300)
        counts = coordinates.counts({"0": 2, "1": 4}, Replay(case.window(), case.runtime))
        assert counts == exact_counts(case, 1)
        assert torch.equal(case.x, before)
        found.append(tuple(counts.values()))
        again = GraspCoordinates(2)
        again.load_state_dict(coordinates.state_dict())
        assert again.counts({"0": 2, "1": 4}, None) == counts  # nothing is measured again
        again.reset()
        assert again.state_dict() == {"counts": {}}
    assert found == [(1, 0), (0, 1)]


def test_arguments():
    for made in (lambda: RandomCoordinates(0), lambda: RandomCoordinates(redraw_every=0)):
        with pytest.raises(ValueError, match="accepted: positive numbers"):
            made()
    with pytest.raises(ValueError, match="queries is 0"):
        GraspCoordinates(queries=0)
