"""The estimate of memory of a module: its passes, what is printed, and what an out-of-memory error says."""

import logging

import pytest
import torch

from tests import kit
from unlearn_pl.combiners import SAGO, MinNorm, Scalarization
from unlearn_pl.engine import BackwardPass, advice, backward_passes, memory_line
from unlearn_pl.engine.plan import optimizer_bytes
from unlearn_pl.gradients import RandomSmoothing, SharpnessAware
from unlearn_pl.modules import MOLLM, RMU, GradDiff
from unlearn_pl.modules.fitting.memory import memory_plan
from unlearn_pl.objectives import (
    CausalLMLoss,
    DPOLoss,
    HiddenDistanceLoss,
    InvertedHingeLoss,
    KLDivergenceLoss,
    UnlearningCrossEntropyLoss,
)
from unlearn_pl.optim import DualOptim

THREE = {"forget": UnlearningCrossEntropyLoss(), "normal": KLDivergenceLoss(), "retain": CausalLMLoss()}


def test_the_rows_that_are_held_in_each_backward_pass():
    alone = [BackwardPass(1, False, 0), BackwardPass(1, True, 1), BackwardPass(1, True, 2)]
    assert backward_passes(THREE, keeps_rows=True, accumulates=False) == alone
    assert backward_passes(THREE, keeps_rows=True, accumulates=True) == [
        BackwardPass(1, False, 0, 1),
        BackwardPass(1, True, 1, 2),  # KL and NLL of earlier micro-batches, which share their forward pass
        BackwardPass(1, True, 1, 2),
    ]


def test_a_sum_has_a_pass_per_stream_and_a_single_gradient():
    assert backward_passes(THREE, keeps_rows=False, accumulates=False) == [
        BackwardPass(1, False, 0),
        BackwardPass(1, True, 0, 1),
    ]


def test_what_the_losses_of_a_stream_read_of_the_vocabulary():
    hinge, inner = {"forget": InvertedHingeLoss()}, {"retain": HiddenDistanceLoss([1])}
    assert backward_passes(hinge, True, False) == [BackwardPass(logits=True, uncompared=True)]
    assert backward_passes(inner, True, False) == [BackwardPass(inner=True)]
    both = hinge | {"normal": KLDivergenceLoss(stream="forget")}
    assert {(b.logits, b.uncompared) for b in backward_passes(both, True, False)} == {(True, False)}
    shared = inner | {"nll": CausalLMLoss()}
    assert not any(b.inner for b in backward_passes(shared, True, False))


def test_streams_that_an_objective_reads_together_are_held_together():
    assert [b.graphs for b in backward_passes({"pair": DPOLoss()}, True, False)] == [2]


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (lambda p: torch.optim.AdamW(p), 8),
        (lambda p: torch.optim.SGD(p, lr=1), 0),
        (lambda p: torch.optim.SGD(p, lr=1, momentum=0.9), 4),
        (lambda p: DualOptim(p), 16),
        (lambda p: DualOptim(p, shared=True), 24),
    ],
)
def test_bytes_of_the_state_are_those_of_the_state(optimizer, expected):
    weight = torch.nn.Parameter(torch.ones(1000))
    made = optimizer([weight])
    assert optimizer_bytes(made, 4) == expected
    if isinstance(made, DualOptim):
        return
    weight.grad = torch.ones(1000)
    made.step()
    state = [v for v in made.state[weight].values() if v is not None and v.numel() == 1000]
    assert sum(v.numel() * v.element_size() for v in state) == 1000 * expected


def fitted(module, **options):
    data = kit.Questions(batch_size=4, micro_batch_size=2, splits=[], **options)
    kit.trainer(max_steps=1).fit(module, data)
    return data


def test_the_estimate_is_printed_before_the_first_step(caplog):
    with caplog.at_level(logging.INFO):
        module = MOLLM(kit.model())
        data = fitted(module)
    [line] = [r.getMessage() for r in caplog.records if "memory per device" in r.getMessage()]
    plan = memory_plan(module)
    assert line == memory_line(plan, None) or line.startswith(memory_line(plan, None).split(" (")[0])
    assert (plan.batch_size, plan.length, plan.gradients) == (2, data.longest_sequence, 3)
    assert plan.reference
    assert plan.optimizer == 2 * plan.parameters == 2 * plan.gradient


def test_a_weighted_sum_holds_one_gradient():
    sums, rows = GradDiff(kit.model(), combiner=Scalarization()), GradDiff(kit.model(), combiner=MinNorm())
    fitted(sums)
    fitted(rows)
    assert (memory_plan(sums).gradients, memory_plan(rows).gradients) == (1, 2)


@pytest.mark.parametrize("options", [{"optimizer": lambda p: DualOptim(p)}, {"gradient": SharpnessAware()}])
def test_a_weighted_sum_that_is_made_of_rows_holds_all_of_them(options):
    module = GradDiff(kit.model(), combiner=Scalarization(), **options)
    fitted(module)
    assert memory_plan(module).gradients == 2


@pytest.mark.parametrize("gradient", [SharpnessAware(), RandomSmoothing()])
def test_perturbed_weights_are_counted_beside_the_rows(gradient):
    plain, perturbed = GradDiff(kit.model(), combiner=MinNorm()), GradDiff(kit.model(), gradient=gradient)
    fitted(plain)
    fitted(perturbed)
    more = memory_plan(perturbed).parts()["gradients"] - memory_plan(plain).parts()["gradients"]
    assert more == 2 * memory_plan(plain).gradient


def test_what_would_be_refused_is_not_advised():
    rows = "gradient=FirstOrder(rows=BFloat16Rows())"
    plain, merged = GradDiff(kit.model(), combiner=MinNorm()), GradDiff(kit.model(), combiner=SAGO())
    states = RMU(kit.model(), mask=None, layer=1)
    for module in (plain, merged, states):
        fitted(module)
    assert rows in memory_plan(plain).savings()
    assert rows not in memory_plan(merged).savings()
    assert not any("CachedReference" in change for change in memory_plan(states).savings())


def test_a_warning_says_what_to_change(monkeypatch):
    monkeypatch.setattr("unlearn_pl.modules.fitting.memory.device_memory", lambda device: 2**20)
    with pytest.warns(UserWarning, match="may not fit.*gradient_checkpointing=True.*CachedReference"):
        fitted(MOLLM(kit.model()))


def test_advice_tells_what_fits():
    module = MOLLM(kit.model())
    fitted(module)
    plan = memory_plan(module)
    best = min(less.peak for less in plan.savings().values())
    assert advice(plan, int(best)).count("(fits)") == 1
    assert "(fits)" not in advice(plan, int(best) - 1)


class Greedy(UnlearningCrossEntropyLoss):
    """Asks for more memory than any machine has."""

    def loss(self, view):
        return super().loss(view) + torch.empty(2**55).sum()


def test_an_out_of_memory_error_is_explained():
    module = GradDiff(kit.model())
    module.objectives["forget"] = Greedy()
    with pytest.raises(RuntimeError) as raised:
        fitted(module)
    notes = "\n".join(raised.value.__notes__)
    assert "memory per device, estimated" in notes
    assert "Checkpoints that were written before are intact" in notes


def test_other_errors_are_left_as_they_are():
    module = GradDiff(kit.model(), on_nonfinite="raise")

    class Broken(UnlearningCrossEntropyLoss):
        def loss(self, view):
            return super().loss(view) * float("nan")

    module.objectives["forget"] = Broken()
    with pytest.raises(RuntimeError, match="non-finite") as raised:
        fitted(module)
    assert not getattr(raised.value, "__notes__", [])
