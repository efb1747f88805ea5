"""The peers of the benchmark do the same as this library: same losses, same gradients, same weights after steps."""

import pytest
import torch

from benchmarks.harness import take_steps
from benchmarks.step_cost import against_others, against_sum, cycles
from benchmarks.step_cost_loops import Losses, fit, make_loop, make_module, torch_loop
from benchmarks.step_cost_task import Task
from unlearn_pl.combiners import MinNorm, Scalarization

CPU = torch.device("cpu")
TINY = {"model": "tiny", "batch_size": 2, "length": 6}
TASKS = [
    Task(objectives=2, **TINY),
    Task(objectives=3, **TINY),
    Task(objectives=3, reference="memory", **TINY),
    Task(objectives=3, lora=True, reference="memory", **TINY),
]
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and logging


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_the_module_and_plain_pytorch_compute_the_same_losses_and_gradient_norms(task):
    module = make_module(MinNorm(), task, CPU)
    take_steps(lambda done: fit(module, task, CPU, done), 1)
    model, batch = task.make_model(CPU), task.batch(CPU)
    losses = Losses(task, model, batch).all(batch)
    torch.testing.assert_close(module.descent.losses.float(), torch.stack(losses).detach(), rtol=1e-5, atol=1e-6)


def test_a_weighted_sum_through_the_module_ends_at_the_weights_of_plain_pytorch():
    task = Task(objectives=2, **TINY)
    module = make_module(Scalarization(), task, CPU)
    take_steps(lambda done: fit(module, task, CPU, done), 3)
    models = []

    def remember(losses, batch, parameters):
        models.append(losses.model)
        torch.stack(losses.all(batch)).sum().backward()

    take_steps(torch_loop(remember, task, CPU), 3)
    for ours, theirs in zip(module.model.parameters(), models[0].parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


LOOPS = [
    "plain, stream by stream",
    "transformers.Trainer",
    "torchjd backward",
    "MinNorm",
    "MinNorm, unguarded",
    "MinNorm, refresh_every=4",
    "MinNorm, sketch",
    "NPO, cached reference",
    "SimNPO",
]


@pytest.mark.parametrize("name", LOOPS)
def test_every_loop_takes_steps(name):
    take_steps(make_loop(name, Task(objectives=2, **TINY), CPU), 2)


def test_the_engine_of_torchjd_takes_steps_on_untied_weights():
    take_steps(make_loop("torchjd autogram", Task(objectives=2, tied=False, **TINY), CPU), 2)


def test_unknown_loops_are_refused():
    with pytest.raises(ValueError, match="no loop called 'fast'; accepted: plain"):
        make_loop("fast", TASKS[0], CPU)


def test_the_operation_counts_are_those_of_the_passes():
    """A forward costs 1, a backward 2 (1 under adapters), a recomputation 1."""
    for case in against_sum("12m", "float32"):
        task, backward = case.task, 1 if case.task.lora else 2
        recompute, reference = int(task.checkpointing), int(task.objectives == 3 and task.reference == "memory")
        ours = 2 + task.objectives * (recompute + backward) + reference
        plain = 2 + 2 * (recompute + backward) + reference
        assert case.bound == pytest.approx(ours / plain), case.title


def test_every_case_names_loops_that_exist():
    for case in [*against_sum("12m", "float32"), *against_others("12m", "float32")]:
        for name in (case.loop, case.peer):
            make_loop(name, case.task, CPU)


def test_a_cycle_is_timed_as_a_whole():
    laps = [(4.0, 2.0), (1.0, 1.0), (6.0, 2.0), (2.0, 0.0)]
    assert cycles(laps, 2) == [(2.5, 1.5), (4.0, 1.0)]
    assert cycles(laps, 1) == laps
