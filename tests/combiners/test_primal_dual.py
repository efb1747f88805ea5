"""The multiplier of the retain constraint."""

import io
import math

import pytest
import torch

from unlearn_pl.combiners import PrimalDual
from unlearn_pl.recording import record

NAN = math.nan


def make_combiner(*arguments, roles=("forget", "retain"), **options):
    combiner = PrimalDual(*arguments, **options)
    combiner.setup([f"{role}{k}" for k, role in enumerate(roles)], roles)
    return combiner


def run(combiner, losses):
    """The calls of the engine: before each step, with the losses of the step before, and NaN at first."""
    before = [[NAN, NAN], *losses[:-1]]
    return [combiner(None, torch.tensor(pair, dtype=torch.float64)).tolist() for pair in before]


def test_the_multiplier_follows_the_recursion():
    losses = [[0.1, 0.9], [0.2, 0.4], [0.0, 0.1], [0.0, 0.05], [0.0, 0.8], [0.0, 0.3]]
    seen = run(make_combiner(0.3, 5.0, 2.0), losses)
    a, expected = 2.0, []
    for _, retain in losses:
        expected.append(a)  # the step is taken with it, and its loss moves it afterwards
        a = max(0.0, a + 5.0 * (retain - 0.3))
    assert [weights[0] for weights in seen] == [1.0] * 6
    assert [weights[1] for weights in seen] == pytest.approx(expected, abs=1e-12)


def test_it_stops_at_zero_and_comes_back():
    seen = run(make_combiner(1.0, 10.0, 0.5), [[0.0, 0.2], [0.0, 0.2], [0.0, 1.3], [0.0, 0.0]])
    assert [weights[1] for weights in seen] == pytest.approx([0.5, 0.0, 0.0, 3.0])


def test_the_budget_is_for_the_sum_of_the_retain_losses_and_all_get_the_multiplier():
    combiner = make_combiner(0.5, roles=("retain", "forget", "retain", "forget"))
    weights = combiner(None, torch.tensor([NAN] * 4))
    assert weights.tolist() == [1.0] * 4
    weights = combiner(None, torch.tensor([0.25, 9.0, 0.5, 9.0]))
    assert weights.tolist() == [1.25, 1.0, 1.25, 1.0]
    assert weights.dtype == torch.float64
    assert combiner.multiplier == 1.25
    assert combiner.live.all()


def test_warm_up_leaves_the_multiplier_alone_for_that_many_steps():
    losses = [[0.0, 1.0]] * 5
    assert [w[1] for w in run(make_combiner(0.0, warmup_steps=2), losses)] == [1.0, 1.0, 1.0, 2.0, 3.0]
    assert [w[1] for w in run(make_combiner(0.0), losses)] == [1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
def test_losses_that_are_not_finite_change_nothing(bad):
    seen = run(make_combiner(0.0), [[0.0, 1.0], [0.0, bad], [bad, 1.0], [0.0, 0.0]])
    assert [w[1] for w in seen] == [1.0, 2.0, 2.0, 3.0]


def test_the_constraint_holds_at_the_end():
    """min (x - 3)^2 / 2 with x^2 / 2 <= 1/2: x = 1, a = 2."""
    combiner, x, losses = make_combiner(0.5, 0.1, 0.0), 3.0, [NAN, NAN]
    for _ in range(3000):
        forget, retain = combiner(None, torch.tensor(losses, dtype=torch.float64)).tolist()
        losses = [(x - 3) ** 2 / 2, x * x / 2]
        x -= 0.05 * (forget * (x - 3) + retain * x)
    assert x == pytest.approx(1.0, abs=1e-6)
    assert combiner.multiplier == pytest.approx(2.0, abs=1e-5)


@pytest.mark.parametrize("split", [1, 3, 4])
def test_state_resumes_exactly(split):
    losses = torch.rand(9, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    losses[0] = NAN
    whole, first = (make_combiner(0.4, 0.7, warmup_steps=2) for _ in range(2))
    expected = [whole(None, pair) for pair in losses]
    for pair in losses[:split]:
        first(None, pair)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    resumed = make_combiner(0.4, 0.7, warmup_steps=2)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for pair, weights in zip(losses[split:], expected[split:], strict=True):
        assert torch.equal(resumed(None, pair), weights)


def test_both_roles_are_needed():
    with pytest.raises(ValueError, match="role retain"):
        make_combiner(0.1, roles=("forget", "forget"))
    assert not PrimalDual.uses_gramian


@pytest.mark.parametrize(
    "options",
    [
        {"budget": NAN},
        {"budget": 1.0, "step_size": 0.0},
        {"budget": 1.0, "step_size": math.inf},
        {"budget": 1.0, "initial": -1.0},
        {"budget": 1.0, "warmup_steps": -1},
    ],
)
def test_constructor_checks_its_arguments(options):
    with pytest.raises(ValueError, match=r"must (not )?be"):
        PrimalDual(**options)


def test_arguments_are_recorded():
    assert record(PrimalDual(0.3, initial=100.0))["init_args"] == {"budget": 0.3, "initial": 100.0}
