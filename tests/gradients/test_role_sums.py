"""Sums of roles: the steps that gradients of every objective give, in one backward pass per forward pass."""

import functools

import pytest
import torch

from tests import kit
from unlearn_pl.combiners import SAGO, GoalBarrier, NGDiff
from unlearn_pl.goals import AtLeast, AtMost
from unlearn_pl.gradients import FirstOrder, RoleSums
from unlearn_pl.modules import GradDiff, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, KLDivergenceLoss, UnlearningCrossEntropyLoss
from unlearn_pl.optim import Constant
from unlearn_pl.references import FrozenReference

GOALS = {"forget": AtMost(share=0.5), "retain": AtLeast(share=0.5)}


class Watched(UnlearningModule):
    """Keeps the gradient, the Gramian and the number of backward passes of every step."""

    backwards = 0

    def __init__(self, gradient, lr, combiner=None, **objectives):
        objectives = {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss(), **objectives}
        super().__init__(
            kit.model(dtype=torch.float64),
            objectives,
            combiner or GoalBarrier(),
            FrozenReference(),
            gradient=gradient,
            optimizer=functools.partial(torch.optim.SGD, lr=lr),
            schedule=Constant(),
            gradient_clip_val=None,
            goals=GOALS,
        )
        self.gradients, self.counts, self.steps = [], [], []

    def manual_backward(self, loss, *args, **kwargs):
        self.backwards += 1
        super().manual_backward(loss, *args, **kwargs)

    def on_before_optimizer_step(self, optimizer):
        self.gradients.append([p.grad.clone() for p in self.trained_parameters])

    def _report(self, step):
        self.steps.append(step)
        self.counts.append(self.backwards)
        self.backwards = 0
        super()._report(step)


def fit(module, steps=5, micro_batch_size=8):
    # As many examples as a batch has: every step sees the same ones.
    data = kit.Questions(forget=8, retain=8, batch_size=8, micro_batch_size=micro_batch_size)
    data.sizes["normal"] = 8
    kit.trainer(max_epochs=steps, max_steps=steps).fit(module, data)
    return module


def more():
    return {"texts": CausalLMLoss(stream="normal"), "again": CausalLMLoss()}


@pytest.mark.parametrize("combiner", [GoalBarrier, lambda: NGDiff(normalization="l2")], ids=["GoalBarrier", "NGDiff"])
@pytest.mark.parametrize("micro_batch_size", [8, 4])
def test_with_norms_that_do_not_change_the_steps_are_the_same(combiner, micro_batch_size):
    each = fit(Watched(FirstOrder(), 0.0, combiner(), **more()), micro_batch_size=micro_batch_size)
    sums = fit(Watched(RoleSums(3), 0.0, combiner(), **more()), micro_batch_size=micro_batch_size)
    assert sums.counts == [micro * backwards for micro in [8 // micro_batch_size] for backwards in (4, 3, 3, 4, 3)]
    for left, right in zip(each.gradients, sums.gradients, strict=True):
        for one, other in zip(left, right, strict=True):
            # Losses are weighted in fp32 before they are back-propagated together.
            torch.testing.assert_close(one, other, rtol=0, atol=1e-6 * one.abs().max().item())
    for left, right in zip(each.steps, sums.steps, strict=True):
        torch.testing.assert_close(left.norms, right.norms)
        torch.testing.assert_close(left.readings, right.readings, equal_nan=True)


def test_between_measured_steps_objectives_stand_for_their_roles():
    module = fit(Watched(RoleSums(4), 0.05, **more()), steps=3)
    first, second = module.steps[0], module.steps[1]
    torch.testing.assert_close(second.norms, first.norms)  # those that were measured
    cosines = second.gramian / second.norms.outer(second.norms)
    retain = [1, 2, 3]
    torch.testing.assert_close(cosines[retain][:, retain], torch.ones(3, 3).double())
    assert abs(cosines[0, 1]) < 0.999


def test_a_divergence_that_starts_at_zero_joins_at_the_next_measured_step():
    module = fit(Watched(RoleSums(2), 0.5, drift=KLDivergenceLoss()), steps=4)
    weights = [step.weights[0, 2].item() for step in module.steps]
    assert weights[0] == weights[1] == 0.0
    assert weights[2] > 0
    assert weights[3] > 0


def test_what_is_not_accepted():
    with pytest.raises(ValueError, match="measure_every is 0; accepted: 1"):
        RoleSums(0)
    with pytest.raises(ValueError, match="SAGO reads gradients element by element"):
        GradDiff(kit.model(), combiner=SAGO(), gradient=RoleSums())
