"""What holds of every rule that the package exports, on its Gramian and on the gradients themselves."""

import inspect
import io

import pytest
import torch

from tests.combiners.gradients import FORGET, LAYOUTS, RETAIN, ready, rows_of
from tests.combiners.gradients import cases as gradient_cases
from tests.exported import Case, cases
from unlearn_pl import combiners
from unlearn_pl.combiners import Combiner, CombinerOptions, MinNorm, PrimalDual, RowCombiner, TorchJD

# Krum is not among them: TorchJD's raises while fewer than 3 objectives are live.
WEIGHTINGS = {name: {} for name in ("AlignedMTL", "GradVac", "IMTLG", "Mean", "MGDA", "PCD", "PCGrad", "Random", "Sum")}
WEIGHTINGS |= {"CAGrad": {"c": 0.4}, "FairGrad": {"alpha": 1.0}}
NEEDED = {
    PrimalDual: [{"budget": 0.5}],  # no default suits the losses of every model
    TorchJD: [{"weighting": name, "arguments": arguments} for name, arguments in WEIGHTINGS.items()],
}
ORDERED = "PCD"  # TorchJD's follows the objective that comes first
CASES = list(cases(combiners, Combiner, NEEDED))
ROLES = [RETAIN, FORGET, RETAIN, FORGET]
POWERS = (-40, -20, 20, 40)  # of 2: factors from 1e-12 to 1e12 that round nothing


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return request.param


def takes(case, argument):
    """Whether the constructor knows ``argument``, by itself or as an option of the base class."""
    parameters = inspect.signature(case.cls).parameters
    return argument in parameters or ("options" in parameters and argument in CombinerOptions.__annotations__)


def step(combiner, rows, losses=None):
    """``(weights [K], direction [P])`` of the next step with gradients ``rows [K, P]``."""
    weights = combiner(rows @ rows.T, torch.ones(len(rows)) if losses is None else losses)
    if not isinstance(combiner, RowCombiner):
        return weights, weights @ rows
    scaled = [row * weight if weight else None for row, weight in zip(rows, weights, strict=True)]
    merged = combiner.merge(scaled)
    return weights, torch.zeros_like(rows[0]) if merged is None else merged


def first_step(case, roles, rows, **options):
    return step(ready(case.make(**options), roles), rows)


def reads_gradients(case):
    """Whether the rule weighs gradients; else it knows losses alone, before there is any gradient."""
    try:
        return not ready(case.make(), ROLES)(None, torch.ones(len(ROLES))).isfinite().all()
    except ValueError:
        return True


def is_symmetric(case):
    """Whether only roles tell objectives apart: neither an order nor draws do, which another seed would change."""
    if case.arguments.get("weighting") == ORDERED:
        return False
    rows = rows_of("conflict", ROLES, 0)
    seeds = [{"seed": seed} for seed in range(3)] if takes(case, "seed") else [{}]
    first, *others = [ready(case.make(**seed), ROLES)(rows @ rows.T, torch.ones(len(ROLES))) for seed in seeds]
    return all(torch.equal(first, other) for other in others)


def unit(direction):
    return direction / direction.norm()


@pytest.mark.parametrize("normalization", [None, "none", "l2", "ema"])
def test_weights_are_finite_on_degenerate_gradients(case, normalization):
    if normalization is not None and not takes(case, "normalization"):
        return
    options = {} if normalization is None else {"normalization": normalization}
    for roles, rows in gradient_cases(count=1):
        weights, direction = first_step(case, roles, rows, **options)
        assert weights.isfinite().all()
        assert direction.isfinite().all()


def test_weights_are_finite_at_any_scale_and_rank(case):
    generator = torch.Generator().manual_seed(0)
    for roles in LAYOUTS:
        for rank in range(1, len(roles) + 1):
            factors = torch.randn(2, max(len(roles), 7), rank, generator=generator, dtype=torch.float64)
            rows = factors[0, : len(roles)] @ factors[1].T
            for exponents in ([-12], [12], range(-12, 13, 24 // (len(roles) - 1))):
                scales = 10 ** torch.tensor([float(e) for e in exponents][: len(roles)], dtype=torch.float64)
                weights, direction = first_step(case, roles, rows * scales.unsqueeze(1))
                assert weights.isfinite().all()
                assert direction.isfinite().all()


def test_weights_are_fp64_on_the_cpu_and_inputs_stay_as_they_are(case):
    rows = rows_of("conflict", ROLES, 0).float()
    gramian, losses = (rows @ rows.T).requires_grad_(), torch.ones(len(ROLES), requires_grad=True)
    kept = gramian.detach().clone()
    weights = ready(case.make(), ROLES)(gramian, losses)
    assert (weights.dtype, weights.device.type, weights.requires_grad) == (torch.float64, "cpu", False)
    assert weights.shape == (len(ROLES),)
    assert torch.equal(gramian, kept)
    assert (losses == 1).all()


@pytest.mark.parametrize("bad", [0.0, torch.nan, torch.inf])
@pytest.mark.parametrize("which", range(len(ROLES)))
def test_a_dead_objective_has_weight_0(case, which, bad):
    rows = rows_of("plain", ROLES, 0)
    gramian = rows @ rows.T
    gramian[which, :] = gramian[:, which] = bad
    losses = torch.ones(len(ROLES))
    losses[which] = losses[which] if bad == 0.0 else bad
    weights = ready(case.make(), ROLES)(gramian, losses)
    assert weights.isfinite().all()
    assert weights[which] == 0 or not reads_gradients(case)
    assert weights.any()


def test_no_live_objective_gives_zeros(case):
    if reads_gradients(case):
        for gramian in (torch.zeros(4, 4), torch.full((4, 4), torch.nan)):
            assert ready(case.make(), ROLES)(gramian, torch.ones(4)).tolist() == [0.0] * 4
    assert ready(case.make(), ROLES)(torch.eye(4), torch.full((4,), torch.nan)).isfinite().all()


def test_the_order_of_the_objectives_does_not_matter(case):
    if not is_symmetric(case):
        return
    order = [2, 0, 3, 1]
    for family in ("plain", "conflict", "scales"):
        for seed in range(3):
            rows = rows_of(family, ROLES, seed)
            weights, direction = first_step(case, ROLES, rows)
            moved, same = first_step(case, [ROLES[k] for k in order], rows[order])
            tolerances = {"rtol": 1e-4, "atol": 1e-4 * weights.abs().max().item()}
            torch.testing.assert_close(moved, weights[order], **tolerances)
            torch.testing.assert_close(unit(same), unit(direction), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("power", POWERS)
def test_a_common_scale_of_the_gradients_changes_no_direction(case, power):
    for seed in range(3):
        rows = rows_of("conflict", ROLES, seed)
        _, direction = first_step(case, ROLES, rows)
        _, scaled = first_step(case, ROLES, rows * 2.0**power)
        torch.testing.assert_close(unit(scaled), unit(direction), rtol=1e-6, atol=1e-6)


def history(steps=8):
    """Gradients and losses of steps that change in length, one of them without the last objective."""
    rows = [rows_of("conflict", ROLES, seed) * (1 + seed) for seed in range(steps)]
    rows[2][-1] = 0.0
    return rows, torch.rand(steps, len(ROLES), generator=torch.Generator().manual_seed(0))


def run(combiner, rows, losses):
    return [torch.cat(step(combiner, of_step, loss)) for of_step, loss in zip(rows, losses, strict=True)]


def same(some, others):
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def test_the_state_goes_on_where_it_was_saved(case):
    rows, losses = history()
    whole, first, resumed = (ready(case.make(), ROLES) for _ in range(3))
    expected = run(whole, rows, losses)
    run(first, rows[:4], losses[:4])
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert same(run(first, rows[4:], losses[4:]), expected[4:])  # taking the state has changed nothing
    assert same(run(resumed, rows[4:], losses[4:]), expected[4:])


def test_setup_resets(case):
    rows, losses = history()
    used, fresh = ready(case.make(), ROLES), ready(case.make(), ROLES)
    run(used, rows, losses)
    assert same(run(ready(used, ROLES), rows, losses), run(fresh, rows, losses))


def test_equal_inputs_give_equal_weights_whatever_the_global_random_state(case):
    rows, losses = history()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = run(ready(case.make(), ROLES), rows, losses)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert same(run(ready(case.make(), ROLES), rows, losses), first)


def test_a_conflict_leaves_an_update(case):
    """Live gradients that are not stationary move the weights, step after step."""
    for roles in LAYOUTS:
        combiner = ready(case.make(), roles)
        for seed in range(4):
            rows = rows_of("conflict", roles, seed)
            assert (rows @ rows.T).min() < 0
            weights, direction = step(combiner, rows)
            assert weights.any()
            assert direction.norm() > 1e-6 * rows.norm()


class Invented(MinNorm):
    """Min-norm weights, but for one property that it breaks."""

    def __init__(self, rule):
        super().__init__()
        self.rule = rule
        self.calls = 0

    def __call__(self, gramian, losses):
        self.calls += 1
        weights = super().__call__(gramian, losses)
        match self.rule:
            case "degenerate":
                weights = weights @ torch.linalg.inv_ex(gramian.detach().double())[0]
            case "scale and rank":
                square = gramian.detach().float().square().max()  # beyond the range of fp32
                weights *= square / square
            case "type":
                weights = weights.float()
            case "input":
                gramian.detach().mul_(2)
            case "dead" | "nobody live":
                weights[-1] = 1.0
            case "order":
                weights[0] *= 2
            case "scale":
                weights[0] *= gramian[0, 0]
            case "state" | "setup":
                weights *= self.calls
            case "random":
                weights *= torch.rand(()).double()
            case "update":
                weights *= 0.0
        return weights

    def setup(self, names, roles, zero_at_start=()):
        super().setup(names, roles, zero_at_start)
        self.calls = self.calls if self.rule == "setup" else 0


CHECKS = {
    "degenerate": lambda case: test_weights_are_finite_on_degenerate_gradients(case, None),
    "scale and rank": test_weights_are_finite_at_any_scale_and_rank,
    "type": test_weights_are_fp64_on_the_cpu_and_inputs_stay_as_they_are,
    "input": test_weights_are_fp64_on_the_cpu_and_inputs_stay_as_they_are,
    "dead": lambda case: test_a_dead_objective_has_weight_0(case, len(ROLES) - 1, 0.0),
    "nobody live": test_no_live_objective_gives_zeros,
    "order": test_the_order_of_the_objectives_does_not_matter,
    "scale": lambda case: test_a_common_scale_of_the_gradients_changes_no_direction(case, 20),
    "state": test_the_state_goes_on_where_it_was_saved,
    "setup": test_setup_resets,
    "random": test_equal_inputs_give_equal_weights_whatever_the_global_random_state,
    "update": test_a_conflict_leaves_an_update,
}


@pytest.mark.parametrize("rule", CHECKS)
def test_a_rule_that_breaks_a_property_is_found(rule):
    with pytest.raises(AssertionError):
        CHECKS[rule](Case(Invented, {"rule": rule}))


@pytest.mark.parametrize("rule", CHECKS)
def test_a_rule_that_keeps_them_is_not(rule):
    CHECKS[rule](Case(Invented, {"rule": "none"}))


def test_every_exported_rule_is_a_case():
    classes = [getattr(combiners, name) for name in combiners.__all__ if name != "CombinerOptions"]
    concrete = {cls for cls in classes if issubclass(cls, Combiner) and not inspect.isabstract(cls)}
    assert {case.cls for case in CASES} == concrete
    assert len(concrete) >= 15


def test_few_rules_are_not_symmetric():
    """An order or draws are the exception, so that the property above is not void."""
    others = {case.arguments.get("weighting") for case in CASES if not is_symmetric(case)}
    assert others == {"PCD", "PCGrad", "GradVac", "Random"}
