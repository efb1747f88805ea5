"""Slopes along random directions: unbiased, exact where they can be, and without any trace in the model."""

import math

import pytest
import torch

from tests.gradients.zeroth_order_kit import DIMENSIONS, Quadratic, Quadratics, classifier_case, mollm
from unlearn_pl.combiners import MinNorm, Scalarization
from unlearn_pl.engine import Descent
from unlearn_pl.gradients import (
    AllCoordinates,
    CoordinateWise,
    FirstOrder,
    GaussianDirections,
    RandomCoordinates,
    SphereDirections,
    ZerothOrder,
    one_block,
)
from unlearn_pl.gradients.zeroth_order.directions import CHUNK
from unlearn_pl.gradients.zeroth_order.random_probes import RandomProbes
from unlearn_pl.objectives import CausalLMLoss, Objective

CHEAP = [ZerothOrder(4), ZerothOrder(4, directions=SphereDirections()), CoordinateWise(RandomCoordinates(5))]


@pytest.mark.parametrize(("directions", "draws"), [(GaussianDirections(), 2000), (SphereDirections(), 500)])
def test_products_and_the_combined_gradient_are_unbiased(directions, draws):
    case = Quadratics()
    jacobian, weights = case.jacobian(), torch.tensor([1.0, 0.5, 2.0]).double()
    slopes, estimates = [], []
    for seed in range(draws // 250):  # every direction has a seed of its own
        measured = ZerothOrder(250, directions=directions, seed=seed).measure(case.window(), case.runtime)
        slopes.append(measured._slopes)
        for q in range(0, 250, 4):
            measured._probes.leave(torch.eye(250, dtype=torch.float64)[q])
            torch.testing.assert_close(slopes[-1][:, q], jacobian @ case.gradient, rtol=1e-6, atol=1e-7)
            estimates.append(weights @ slopes[-1][:, q] * case.gradient)
    drawn = torch.cat(slopes, dim=1)
    for found, expected in (
        (torch.einsum("iq,jq->qij", drawn, drawn), jacobian @ jacobian.T),
        (torch.stack(estimates), weights @ jacobian),
    ):
        error = found.std(dim=0) / math.sqrt(len(found))
        assert ((found.mean(dim=0) - expected).abs() <= 3 * error).all()


def test_the_sphere_has_its_radius_in_every_parameter():
    for size in (1, 7, 40):
        numbers = torch.cat(list(SphereDirections().numbers("key", size, torch.float64, torch.device("cpu"))))
        assert numbers.norm().item() == pytest.approx(math.sqrt(size))


def test_directions_are_functions_of_seed_step_direction_and_parameter():
    def drawn(key, size=8):
        return torch.cat(list(GaussianDirections().numbers(key, size, torch.float32, torch.device("cpu"))))

    case = Quadratics()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    keys = []
    for seed, step in ((0, 0), (0, 1), (1, 0)):
        probes = ZerothOrder(2, seed=seed).probes(type("R", (), {"runtime": case.runtime, "window": case.window(step)}))
        for q in (0, 1):
            probes.leave(torch.eye(2, dtype=torch.float64)[q])
            keys.append(case.gradient)
    assert all(not torch.equal(a, b) for i, a in enumerate(keys) for b in keys[:i])
    assert not torch.equal(*(part for part in (keys[0][:2], keys[0][2:4])))
    assert torch.equal(state, torch.get_rng_state())
    parts = list(GaussianDirections().numbers("a", CHUNK + 3, torch.float32, torch.device("cpu")))
    assert [len(part) for part in parts] == [CHUNK, 3]
    assert torch.equal(drawn("b"), drawn("b"))


def test_what_is_measured_is_what_is_left():
    case = Quadratics()
    source, weights = ZerothOrder(5), {"a": 1.0, "b": 0.0, "c": -2.0}
    measured = source.measure(case.window(), case.runtime)
    readings, gramian = measured.measure(one_block(case.parameters))
    measured.combine(torch.tensor([list(weights.values())]).double(), one_block(case.parameters))
    combined = case.gradient
    summed = source.weighted_sum(case.window(), case.runtime, weights)
    torch.testing.assert_close(case.gradient, combined, rtol=1e-12, atol=0)
    again, square = summed.measure(one_block(case.parameters))
    w = torch.tensor(list(weights.values())).double()
    torch.testing.assert_close(square.squeeze(), w @ gramian[0] @ w)
    torch.testing.assert_close(again, readings, equal_nan=True)
    expected = [objective.loss(type("V", (), {"x": case.x})) for objective in case.objectives.values()]
    torch.testing.assert_close(readings[:, 0], torch.stack(expected).detach())  # at the weights themselves


def test_one_coordinate_at_a_time_is_backpropagation():
    found = {}
    for source in (FirstOrder(), CoordinateWise(AllCoordinates(), mu=1e-5)):
        objectives, runtime, window = classifier_case()
        with torch.no_grad():  # away from the reference model
            for parameter in runtime.parameters:
                parameter.mul_(1.3)
        step = Descent(objectives, MinNorm(), gradient=source).step(window, runtime)
        found[type(source).__name__] = [step.gramians, step.weights, *(p.grad for p in runtime.parameters)]
    for exact, measured in zip(*found.values(), strict=True):
        torch.testing.assert_close(measured, exact, rtol=1e-6, atol=1e-6)


class OneSided(ZerothOrder):
    """What most code does."""

    def probes(self, replay):
        made = super().probes(replay)
        made.__class__ = _OneSidedProbes
        return made


class _OneSidedProbes(RandomProbes):
    def move(self, q, sign):
        self._mu, kept = self._mu if sign == 1 else 0.0, self._mu
        super().move(q, sign)
        self._mu = kept

    @property
    def widths(self):
        return super().widths / 2


@pytest.mark.parametrize(("source", "is_active"), [(ZerothOrder(8, mu=1e-5), False), (OneSided(8, mu=1e-5), True)])
def test_a_divergence_at_its_reference_is_inactive_thanks_to_central_differences(source, is_active):
    objectives, runtime, window = classifier_case()
    descent = Descent(objectives, MinNorm(), gradient=source)
    step = descent.step(window, runtime)
    assert descent.combiner.live.tolist() == [True, is_active, True]
    assert bool(step.weights[0, 1] != 0) == is_active


@pytest.mark.parametrize("source", CHEAP)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_with_a_rate_of_zero_weights_stay_the_same_bit_for_bit(source, dtype):
    objectives, runtime, window = classifier_case(dtype, lr=0.0)
    if dtype == torch.bfloat16:
        source = type(source)(**source.recorded_arguments() | {"mu": 0.02})
    before = [p.detach().clone() for p in runtime.parameters]
    for _ in range(3):
        assert Descent(objectives, MinNorm(), gradient=source).step(window, runtime).moves
        runtime.optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(runtime.parameters, before, strict=True))


class FailsLater(CausalLMLoss):
    calls = 0

    def loss(self, view):
        self.calls += 1
        if self.calls > 4:
            raise RuntimeError("inside")
        return super().loss(view)


@pytest.mark.parametrize("source", CHEAP)
def test_an_error_on_the_way_leaves_the_weights(source):
    objectives, runtime, window = classifier_case(objectives={"forget": mollm()["forget"], "retain": FailsLater()})
    before = [p.detach().clone() for p in runtime.parameters]
    runtime.model.train()
    with pytest.raises(RuntimeError, match="inside"):
        Descent(objectives, MinNorm(), gradient=source).step(window, runtime)
    assert all(torch.equal(a, b) for a, b in zip(runtime.parameters, before, strict=True))
    assert runtime.model.training


@pytest.mark.parametrize("combiner", [MinNorm(), Scalarization()])
@pytest.mark.parametrize("source", CHEAP)
def test_nothing_is_saved_for_a_backward_pass(source, combiner):
    objectives, runtime, window = classifier_case()
    seen, saved = [], []
    runtime.model.train()
    runtime.model.register_forward_hook(
        lambda module, *_: seen.append((torch.is_grad_enabled(), module.training, module[0].training))
    )
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda kept: kept):
        Descent(objectives, combiner, gradient=source).step(window, runtime)
        assert not saved
        Descent(objectives, combiner).step(window, runtime)
        assert saved  # these hooks count
    forward_only = seen[:-4]
    assert len(forward_only) == 4 * (2 * source.num_directions + 1)
    assert set(forward_only) == {(False, False, False)}
    assert runtime.model[0].training


def test_reused_weights_go_the_same_way():
    objectives, runtime, window = classifier_case()
    runtime.backward = None  # type: ignore[assignment]
    descent = Descent(objectives, MinNorm(), gradient=ZerothOrder(8), refresh_every=3)
    lengths = []
    for _ in range(3):
        step = descent.step(window, runtime)
        lengths.append((len(step.gramian), torch.cat([p.grad.flatten() for p in runtime.parameters]).norm().item()))
    assert [size for size, _ in lengths] == [3, 1, 1]
    # The length of a sum is estimated as in the Gramian; by the length in .grad, it would be cut by sqrt(d / Q).
    assert min(length for _, length in lengths[1:]) > 0.4 * lengths[0][1]


def test_masked_weights_are_neither_moved_nor_changed():
    case = Quadratics()
    start = [p.detach().clone() for p in case.parameters]
    kept = torch.tensor([[True, False], [False, True]])

    def mask(row):
        row[0].zero_()
        row[1].mul_(kept)

    def view(stream, batch):
        assert torch.equal(case.parameters[0], start[0])
        assert torch.equal(case.parameters[1][~kept], start[1][~kept])
        moved.append(not torch.equal(case.parameters[1], start[1]))
        return type("V", (), {"x": case.x})

    case.runtime.mask, case.runtime.view = mask, view
    for source in (ZerothOrder(4), CoordinateWise(AllCoordinates()), CoordinateWise(RandomCoordinates(2))):
        moved: list[bool] = []
        measured = source.measure(case.window(), case.runtime)
        measured.combine(torch.ones(1, 3).double(), one_block(case.parameters))
        assert not case.parameters[0].grad.any()
        assert case.parameters[1].grad.ne(0).equal(kept)
        assert sum(moved) == 2 * len(measured._slopes[0])
    exact = case.jacobian().sum(dim=0)[2:].view(2, 2)
    torch.testing.assert_close(case.parameters[1].grad, exact * kept)


class Random(Objective):
    """Draws a new random number at every evaluation."""

    def loss(self, view):
        return torch.rand(()).double() + 0 * view.x.sum()


def test_a_loss_that_draws_random_numbers_is_the_same_function_everywhere():
    case = Quadratics()
    case.objectives["b"] = Random("retain")
    torch.manual_seed(1)
    losses, expected = [], [torch.rand(()).item(), torch.rand(()).item()]
    torch.manual_seed(1)
    for step in range(2):
        measured = ZerothOrder(4).measure(case.window(step), case.runtime)
        assert not measured._slopes[1].any()
        losses.append(measured._readings[1, 0].item())
    assert losses == expected  # and a step draws as many numbers as one evaluation


class Broken(CausalLMLoss):
    def loss(self, view):
        return super().loss(view) * math.nan


def test_an_objective_that_is_not_finite_is_dropped_from_the_gradient():
    objectives, runtime, window = classifier_case(objectives={**mollm(), "retain": Broken()})
    descent = Descent(objectives, MinNorm(), gradient=ZerothOrder(8), on_nonfinite="drop")
    step = descent.step(window, runtime)
    assert step.moves
    assert step.weights[0, 2] == 0
    assert all(p.grad.isfinite().all() for p in runtime.parameters)


def test_parameters_of_any_layout_and_dtype():
    case = Quadratics()
    turned = torch.nn.Parameter(case.parameters[1].detach().T)
    assert not turned.is_contiguous()
    case.parameters[1] = case.runtime.parameters[1] = turned
    CoordinateWise(AllCoordinates()).measure(case.window(), case.runtime).combine(
        torch.ones(1, 3).double(), one_block(case.parameters)
    )
    torch.testing.assert_close(case.gradient, case.jacobian().sum(dim=0))
    case.runtime.parameters[1] = torch.nn.Parameter(torch.zeros(2, 8, dtype=torch.float64)[:, ::2])
    with pytest.raises(ValueError, match="leave gaps"):
        ZerothOrder(4).measure(case.window(), case.runtime)
    assert sum(p.numel() for p in case.parameters) == DIMENSIONS
    assert isinstance(case.objectives["a"], Quadratic)


def test_shifts_that_are_lost_in_rounding_are_found():
    objectives, runtime, window = classifier_case(torch.bfloat16)
    with torch.no_grad():
        runtime.parameters[0].fill_(1.0)
    with pytest.raises(ValueError, match=r"mu=0.001 is lost in the rounding of 64 of \d+ weights .*bfloat16"):
        Descent(objectives, MinNorm(), gradient=CoordinateWise(AllCoordinates())).step(window, runtime)


@pytest.mark.parametrize("mu", [0.0, -1.0, math.inf, math.nan])
def test_distances_are_positive(mu):
    for source in (ZerothOrder, CoordinateWise):
        with pytest.raises(ValueError, match="mu is"):
            source(mu=mu)
    with pytest.raises(ValueError, match="queries is 0"):
        ZerothOrder(0)
