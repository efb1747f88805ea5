"""Weights that are reused between two solves, and weights from sketches, against the exact step."""

import functools
import math

import pytest
import torch

from tests import kit
from unlearn_pl.combiners import GramianCombiner, MinNorm, RowCombiner, Scalarization
from unlearn_pl.engine import Refresh, Step
from unlearn_pl.functional import min_norm_weights
from unlearn_pl.gradients import FirstOrder, SketchedRows
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, KLDivergenceLoss, UnlearningCrossEntropyLoss
from unlearn_pl.optim import Constant, DualOptim
from unlearn_pl.references import FrozenReference

SGD = functools.partial(torch.optim.SGD, lr=0.05, momentum=0.5)
OPTIONS = {"optimizer": SGD, "schedule": Constant(), "gradient_clip_val": None}
PLAIN = {"normalization": "none", "min_relative_norm": 0.0}


class Pair(kit.Recording, UnlearningModule):
    """UCE and NLL in fp64, which keeps the norm of the gradient of every step."""

    def __init__(self, combiner=None, **options):
        objectives = {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()}
        super().__init__(kit.model(dtype=torch.float64), objectives, combiner or MinNorm(), **OPTIONS | options)
        self.reported = []

    def _report(self, step):
        self.reported.append(step)
        super()._report(step)


class LaggedMinNorm(GramianCombiner):
    """The same rule where every Gramian is known: the weights of every m-th step, the steps between capped."""

    def __init__(self, every: int) -> None:
        super().__init__(**PLAIN)
        self.every, self.steps, self.last, self.longest = every, 0, None, math.inf

    def weigh(self, gramian, losses):
        if self.steps % self.every == 0:
            self.last = min_norm_weights(gramian)
            self.longest = (self.last @ gramian @ self.last).sqrt()
        self.steps += 1
        length = (self.last @ gramian @ self.last).sqrt()
        return self.last * min(1.0, (self.longest / length).item())


def fit(module, micro_batch_size=8, **options):
    data = kit.Questions(batch_size=8, micro_batch_size=micro_batch_size)
    kit.trainer(**({"max_epochs": 4, "precision": "64-true"} | options)).fit(module, data)
    return module


def weights_of(module):
    return torch.cat([p.detach().flatten() for p in module.model.parameters()])


@pytest.mark.parametrize("micro_batch_size", [8, 2])
@pytest.mark.parametrize("every", [2, 3, 4])
def test_reused_weights_are_those_of_the_last_solve_with_their_length_capped(every, micro_batch_size):
    module = fit(Pair(MinNorm(**PLAIN), refresh_every=every), micro_batch_size)
    expected = fit(Pair(LaggedMinNorm(every)))
    assert module.windows_closed == expected.windows_closed == 8
    assert len(module.history) == math.ceil(8 / every)
    torch.testing.assert_close(weights_of(module), weights_of(expected), rtol=1e-9, atol=1e-11)


def test_no_reused_step_is_longer_than_the_last_solve():
    module = fit(Pair(MinNorm(), refresh_every=4), max_epochs=8)
    longest, capped = math.inf, 0
    for step in module.reported:
        if step.gramian.shape == (2, 2):
            longest, asked = step.length, step.weights[0]
        else:
            scale = (step.weights[0] / asked)[0].item()
            assert step.norms.item() <= longest * (1 + 1e-9)  # the length of what is taken is what is logged
            capped += scale < 1
    assert capped > 0


def test_one_is_the_plain_step():
    torch.testing.assert_close(weights_of(fit(Pair(refresh_every=1))), weights_of(fit(Pair())), rtol=0, atol=0)


def steady(every=4):
    refresh = Refresh(every)
    refresh.solved(step_of([1.0, 1.0]), 2.0)
    return refresh


def step_of(losses, weights=(0.5, 0.5)):
    two = torch.tensor(losses, dtype=torch.float64)
    readings = torch.cat([two.unsqueeze(1), torch.full([2, 2], torch.nan)], dim=1)
    return Step(["a", "b"], readings, torch.eye(2).double()[None], torch.tensor([weights], dtype=torch.float64))


NOBODY = torch.tensor([False, False])


def test_the_combiner_is_asked_after_m_minus_1_reused_steps():
    refresh = steady()
    for _ in range(3):
        assert not refresh.due
        refresh.reused(step_of([1.0, 1.0]), False, NOBODY)
    assert refresh.due


@pytest.mark.parametrize(
    ("losses", "goals_changed", "satisfied", "weights", "due"),
    [
        ([1.9, 0.6], False, NOBODY, (0.5, 0.5), False),
        ([2.1, 1.0], False, NOBODY, (0.5, 0.5), True),
        ([1.0, 0.4], False, NOBODY, (0.5, 0.5), True),
        ([-1.0, 1.0], False, NOBODY, (0.5, 0.5), True),
        ([2.1, 1.0], False, torch.tensor([True, False]), (0.5, 0.5), False),
        ([1.0, 1.0], True, NOBODY, (0.5, 0.5), True),
        ([1.0, 1.0], False, NOBODY, (0.0, 0.0), True),
    ],
)
def test_the_combiner_is_asked_early(losses, goals_changed, satisfied, weights, due):
    refresh = steady()
    refresh.reused(step_of(losses, weights), goals_changed, satisfied)
    assert refresh.due == due


def test_a_skipped_solve_is_not_reused():
    refresh = Refresh(4)
    refresh.solved(step_of([1.0, 1.0], (0.0, 0.0)), 0.0)
    assert refresh.due


def test_an_objective_that_reaches_its_goal_is_left_out_at_the_next_step():
    """The retain loss falls below its threshold in a reused step: the weights that knew nothing of it are dropped."""
    fast = functools.partial(torch.optim.AdamW, lr=1e-2, weight_decay=0.0)
    combiner = MinNorm(satisfied={"retain": 5.0}, satisfied_decay=0.0)
    module = fit(Pair(combiner, refresh_every=100, optimizer=fast), max_steps=12, max_epochs=6)
    reached = next(i for i, step in enumerate(module.reported) if step.losses[1] < 5.0)
    before, after = module.reported[reached], module.reported[reached + 1]
    assert before.gramian.shape == (1, 1)
    assert before.weights[0, 1] > 0
    assert after.gramian.shape == (2, 2)
    assert after.weights[0, 1] == 0


def test_a_divergence_that_starts_at_zero_is_asked_for_as_soon_as_it_moves():
    objectives = {"forget": UnlearningCrossEntropyLoss(), "kl": KLDivergenceLoss(), "retain": CausalLMLoss()}
    streams = ["forget", *objectives["kl"].streams, "retain"]
    module = UnlearningModule(
        kit.model(dtype=torch.float64), objectives, MinNorm(), FrozenReference(), refresh_every=50, **OPTIONS
    )
    data = kit.Questions(batch_size=8, micro_batch_size=8, streams=list(dict.fromkeys(streams)))
    kit.trainer(max_epochs=2, precision="64-true").fit(module, data)
    assert module.windows_closed == 4
    assert module.combiner.live.all()


def test_a_loss_that_is_not_finite_skips_the_reused_step_and_the_next_one_asks():
    class Poisoned(UnlearningCrossEntropyLoss):
        calls = 0

        def loss(self, view):
            Poisoned.calls += 1
            return super().loss(view) * (math.nan if Poisoned.calls == 2 else 1.0)

    module = Pair(refresh_every=100)
    module.objectives["forget"] = Poisoned()
    fit(module, max_steps=3)
    shapes = [step.gramian.shape[0] for step in module.reported]
    assert shapes == [2, 1, 2, 1]  # the skipped step does not count
    assert module.skipped["nonfinite"] == 1
    assert not module.reported[1].weights.any()
    assert weights_of(module).isfinite().all()


class Once(UnlearningCrossEntropyLoss):
    """Adds ``what`` to its loss, once."""

    def __init__(self, call: int, what: float) -> None:
        super().__init__()
        self.call, self.what, self.calls = call, what, 0

    def loss(self, view):
        self.calls += 1
        return super().loss(view) + (self.what if self.calls == self.call else 0.0)


@pytest.mark.parametrize("gradient", [FirstOrder(), SketchedRows()])
def test_an_objective_that_was_dropped_is_asked_for_at_the_next_step(gradient):
    module = Pair(refresh_every=100, on_nonfinite="drop", gradient=gradient)
    module.objectives["forget"] = Once(1, math.nan)
    fit(module, max_steps=3)
    assert module.reported[0].weights[0].tolist()[0] == 0
    assert module.reported[1].weights[0].gt(0).all()


def test_a_reused_step_does_not_descend_a_loss_that_is_not_finite():
    """Its gradient is finite, so that only the loss tells; a sum has no row to drop."""
    module = Pair(refresh_every=100, on_nonfinite="drop")
    module.objectives["forget"] = Once(2, math.inf)
    fit(module, max_steps=3)
    assert not module.reported[1].weights.any()
    assert module.reported[2].weights.any()


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_a_run_that_is_resumed_between_two_solves_goes_on_as_if_nothing_had_happened(steps, tmp_path):
    whole = fit(Pair(MinNorm(**PLAIN), refresh_every=4), max_epochs=4)
    first = kit.trainer(max_steps=steps, max_epochs=4, precision="64-true")
    first.fit(Pair(MinNorm(**PLAIN), refresh_every=4), kit.Questions(batch_size=8, micro_batch_size=8))
    first.save_checkpoint(tmp_path / "part.ckpt")
    module = Pair(MinNorm(**PLAIN), refresh_every=4)
    second = kit.trainer(max_epochs=4, precision="64-true")
    second.fit(module, kit.Questions(batch_size=8, micro_batch_size=8), ckpt_path=tmp_path / "part.ckpt")
    assert torch.equal(weights_of(module), weights_of(whole))


def test_weights_from_sketches_come_near_the_exact_ones_and_no_row_is_kept():
    exact = fit(Pair(MinNorm()), max_steps=1)
    sketched = fit(Pair(MinNorm(), gradient=SketchedRows(size=65_536)), max_steps=1)
    assert not hasattr(sketched, "history")
    torch.testing.assert_close(sketched.reported[0].gramian, exact.reported[0].gramian, rtol=0.02, atol=0)
    torch.testing.assert_close(sketched.reported[0].weights, exact.reported[0].weights, rtol=0.02, atol=0)


def test_the_step_of_a_sketch_is_the_weighted_sum_with_its_weights():
    sketched = fit(Pair(MinNorm(), gradient=SketchedRows(size=256)), max_steps=1)
    rows = fit(
        Pair(Scalarization(dict(zip(["forget", "retain"], sketched.reported[0].weights[0].tolist(), strict=True)))),
        max_steps=1,
    )
    torch.testing.assert_close(weights_of(sketched), weights_of(rows), rtol=1e-12, atol=1e-14)


def test_sketches_do_not_depend_on_accumulation():
    whole = fit(Pair(MinNorm(), gradient=SketchedRows(), refresh_every=2), micro_batch_size=8)
    parts = fit(Pair(MinNorm(), gradient=SketchedRows(), refresh_every=2), micro_batch_size=2)
    torch.testing.assert_close(weights_of(parts), weights_of(whole), rtol=1e-9, atol=1e-11)


def test_a_dropped_objective_does_not_poison_the_sum_after_its_sketch():
    class Broken(UnlearningCrossEntropyLoss):
        def loss(self, view):
            return super().loss(view) * math.nan

    module = Pair(gradient=SketchedRows(), on_nonfinite="drop")
    module.objectives["forget"] = Broken()
    fit(module, max_steps=2)
    assert module.skipped["nonfinite"] == module.windows_closed == 2
    assert weights_of(module).isfinite().all()
    assert not torch.equal(
        weights_of(module), torch.cat([p.flatten() for p in kit.model(dtype=torch.float64).parameters()])
    )


class Signs(RowCombiner):
    def merge(self, gradients):
        return gradients[0]


@pytest.mark.parametrize(
    ("combiner", "options", "message"),
    [
        (MinNorm, {"refresh_every": 0}, "refresh_every is 0; accepted: 1"),
        (Signs, {"refresh_every": 2}, "Signs does not use"),
        (Signs, {"gradient": SketchedRows()}, "Signs reads gradients element by element"),
        (Scalarization, {"gradient": SketchedRows()}, "Scalarization does not use"),
        (Scalarization, {"refresh_every": 2}, "Scalarization does not use"),
        (MinNorm, {"scope": "tensor", "refresh_every": 2}, "Accepted with refresh_every=2"),
        (MinNorm, {"scope": "group", "gradient": SketchedRows()}, "scope='global'"),
        (MinNorm, {"metric": "adam", "gradient": SketchedRows()}, "Accepted with it: metric='euclidean'"),
    ],
)
def test_what_cannot_be_honored_is_refused_when_the_module_is_made(combiner, options, message):
    with pytest.raises(ValueError, match=message):
        Pair(combiner(), **options)


def test_the_size_of_a_sketch_is_checked_when_it_is_given():
    with pytest.raises(ValueError, match="size of a sketch is 0"):
        SketchedRows(size=0)


@pytest.mark.parametrize("options", [{"refresh_every": 2}, {"gradient": SketchedRows()}])
def test_an_optimizer_with_moments_per_role_is_refused(options):
    with pytest.raises(ValueError, match="DualOptim needs a gradient per role at every step"):
        fit(Pair(optimizer=functools.partial(DualOptim, lr=1e-3), **options), max_steps=1)
