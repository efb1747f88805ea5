"""Sources that take turns, what is refused with sources that run no backward pass, and what is warned of."""

import functools

import pytest
import torch
from torch.optim import SGD, AdamW

from tests.gradients.zeroth_order_kit import classifier_case, mollm
from unlearn_pl.combiners import GradDrop, MinNorm, Scalarization
from unlearn_pl.engine import Descent
from unlearn_pl.gradients import (
    Alternating,
    CoordinateWise,
    FirstOrder,
    RandomCoordinates,
    RoleSums,
    SketchedRows,
    ZerothOrder,
)
from unlearn_pl.optim import DualOptim


def test_the_source_of_a_step_follows_from_its_number():
    objectives, runtime, window = classifier_case()
    backward, calls = runtime.backward, []
    runtime.backward = lambda loss, retain_graph: (calls.append(1), backward(loss, retain_graph))
    descent = Descent(objectives, MinNorm(), gradient=Alternating(period=2))
    backwards = []
    for _ in range(6):
        calls.clear()
        descent.step(window, runtime)
        backwards.append(len(calls) > 0)
    assert backwards == [True, True, False, False, True, True]


def test_the_default_is_first_and_zeroth_order():
    first, second = Alternating().turns
    assert (type(first), type(second)) == (FirstOrder, ZerothOrder)
    assert Alternating().backpropagates
    assert not Alternating([ZerothOrder(), CoordinateWise()]).backpropagates


def test_the_state_of_every_source_is_kept():
    objectives, runtime, window = classifier_case()

    def made():
        return Alternating([RoleSums(3), FirstOrder()], period=2)

    descent = Descent(objectives, MinNorm(), gradient=made())
    kept = []
    for _ in range(3):  # the norms that FirstOrder measures in the third step are not those of RoleSums
        descent.step(window, runtime)
        kept.append(descent.gradient.state_dict()["sources"][0])
    assert kept[2] == kept[1]
    assert kept[1]["age"] == 1
    again = made()
    again.load_state_dict(descent.gradient.state_dict())
    assert again.state_dict() == descent.gradient.state_dict()
    again.reset()
    assert again.state_dict()["sources"][0] == {"norms": {}, "age": 0}


@pytest.mark.parametrize(
    ("steps", "period", "warns"), [(40, 20, False), (80, 20, False), (50, 20, True), (20, 20, True), (None, 20, False)]
)
def test_a_run_that_ends_by_backpropagation_warns(steps, period, warns):
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    concerns = Alternating(period=period).concerns(optimizer, steps)
    assert [("the last ones are by FirstOrder" in c, "a multiple of 40" in c) for c in concerns] == [
        (True, True)
    ] * warns
    assert not Alternating([FirstOrder(), SketchedRows()], period).concerns(optimizer, steps)


@pytest.mark.parametrize("source", [ZerothOrder(), Alternating([FirstOrder(), ZerothOrder()])])
def test_optimizers_that_divide_by_the_noise_warn(source):
    weight = torch.nn.Parameter(torch.zeros(1))
    for kind in (AdamW, torch.optim.RMSprop, torch.optim.Adagrad):
        (concern,) = source.concerns(kind([weight], lr=0.1), None)
        assert all(name in concern for name in (kind.__name__, "ZerothOrder", "torch.optim.SGD"))
    assert not source.concerns(SGD([weight], lr=0.1, momentum=0.9), None)
    assert not CoordinateWise().concerns(AdamW([weight], lr=0.1), None)


def test_shifts_that_are_too_small_for_the_weights_warn():
    half = SGD([torch.nn.Parameter(torch.zeros(1, dtype=torch.bfloat16))], lr=0.1)
    for source in (ZerothOrder(mu=1e-4), CoordinateWise(mu=1e-4)):
        (concern,) = source.concerns(half, None)
        assert "mu=0.0001 is lost" in concern
        assert not source.concerns(SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1), None)
    assert not ZerothOrder().concerns(half, None)


CASES = {
    "rows": (r"GradDrop reads gradients element by element.*ZerothOrder\(\).*FirstOrder", {"combiner": GradDrop()}),
    "scope": (r"scope='tensor'.*ZerothOrder\(\): scope='global'", {"scope": "tensor"}),
    "metric": (r"ZerothOrder\(\) keeps Euclidean products, but metric is 'adam'", {"metric": "adam"}),
}


@pytest.mark.parametrize("wrap", [lambda source: source, lambda source: Alternating([FirstOrder(), source])])
@pytest.mark.parametrize("case", CASES)
def test_what_slopes_cannot_do_names_what_can(case, wrap):
    message, options = CASES[case]
    options = {"combiner": MinNorm(), **options}
    with pytest.raises(ValueError, match=message):
        Descent(mollm(), options.pop("combiner"), gradient=wrap(ZerothOrder()), **options)


@pytest.mark.parametrize(
    "source", [ZerothOrder(3), CoordinateWise(RandomCoordinates(3)), Alternating([FirstOrder(), ZerothOrder(3)])]
)
def test_a_solver_needs_more_directions_than_objectives(source):
    with pytest.raises(ValueError, match=r"slopes along 3 directions.*more than 3.*Scalarization"):
        Descent(mollm(), MinNorm(), gradient=source)
    Descent(mollm(), Scalarization(), gradient=source)


def test_a_gradient_per_role_needs_rows():
    weight = torch.nn.Parameter(torch.zeros(1))
    for source in (ZerothOrder(), Alternating()):
        descent = Descent(mollm(), MinNorm(), gradient=source)
        with pytest.raises(ValueError, match=rf"DualOptim.*{type(source).__name__}\(\).*FirstOrder\(\)"):
            descent.check_optimizer(functools.partial(DualOptim, lr=0.1)([weight]))


def test_arguments():
    with pytest.raises(ValueError, match="two or more"):
        Alternating([FirstOrder()])
    with pytest.raises(ValueError, match="period is 0"):
        Alternating(period=0)
