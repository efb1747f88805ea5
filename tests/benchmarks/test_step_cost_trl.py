"""The preference losses of the benchmark: ours, the plain way, and TRL's where it is installed, are the same."""

import math
from dataclasses import replace

import lightning.pytorch as pl
import pytest
import torch

from benchmarks.harness import take_steps
from benchmarks.memory_methods import METHODS, PAIRED, method_module, plain_loop, plain_losses, row
from benchmarks.step_cost_loops import fit
from benchmarks.step_cost_task import Task
from benchmarks.step_cost_trl import BETA, has_trl, make_any_loop, preference_module, trl_loop

CPU = torch.device("cpu")
TASK = Task(model="tiny", batch_size=2, length=6, objectives=2)
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and logging


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_the_losses_of_the_plain_way(method):
    """On adapters away from their start, where the reference is another model."""
    task = replace(TASK, lora=True, pairs=method in PAIRED)

    def moved(model):
        draw = torch.Generator().manual_seed(0)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data = torch.randn(parameter.shape, generator=draw)
        return model

    module = method_module(method, task, CPU)
    moved(module.model)
    model = moved(task.make_model(CPU))
    frozen = task.make_plain(CPU).eval()
    take_steps(lambda done: fit(module, task, CPU, done), 1)
    plain = torch.stack(plain_losses(method, task, model, frozen, task.batch(CPU))).detach()
    torch.testing.assert_close(
        module.descent.losses.float().sort().values, plain.float().sort().values, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("method", ["NPO", "LoKU"])
def test_the_plain_way_takes_steps(method):
    take_steps(plain_loop(method, TASK, CPU), 2)


@pytest.mark.parametrize("kind", ["DPO", "KTO"])
def test_trl_ends_at_the_same_weights(kind):
    pytest.importorskip("trl", reason="TRL, the peer of DPO and KTO, is not installed")
    task, kept = replace(TASK, pairs=True), {}
    take_steps(trl_loop(kind, task, CPU, lambda trainer: kept.update(trainer=trainer)), 2)
    module = preference_module(kind, task, CPU)
    take_steps(lambda done: fit(module, task, CPU, done), 2)
    for ours, theirs in zip(module.model.parameters(), kept["trainer"].model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["DPO", "KTO"])
def test_trl_has_the_same_losses(kind):
    """Away from the reference model, where they are no constants."""
    pytest.importorskip("trl", reason="TRL, the peer of DPO and KTO, is not installed")
    task, theirs, ours = replace(TASK, pairs=True), [], []

    def moved(model):
        draw = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=draw)

    def listen(trainer):
        moved(trainer.model)
        compute = trainer.compute_loss

        def computed(*args, **kwargs):
            found = compute(*args, **kwargs)
            theirs.append((found[0] if isinstance(found, tuple) else found).item())
            return found

        trainer.compute_loss = computed

    take_steps(trl_loop(kind, task, CPU, listen), 2)
    module = preference_module(kind, task, CPU)

    def loop(step_done):
        def look():
            ours.append(module.descent.losses.item())
            step_done()

        fit(module, task, CPU, look)

    class Moved(pl.Callback):
        """After the reference has been copied."""

        def on_train_start(self, trainer, pl_module):
            moved(pl_module.model)

    module.configure_callbacks = lambda: [Moved()]
    take_steps(loop, 2)
    scale = 2 / BETA if kind == "DPO" else 1
    assert ours == pytest.approx([scale * loss for loss in theirs], rel=1e-5)
    assert abs(ours[0] - (scale * math.log(2) if kind == "DPO" else 0.5)) > 1e-3


def test_without_trl_it_says_so(monkeypatch):
    if has_trl():
        monkeypatch.setattr("benchmarks.step_cost_trl.has_trl", lambda: False)
    with pytest.raises(ValueError, match="trl is not installed"):
        make_any_loop("TRL DPO", TASK, CPU)


def test_a_row_has_the_ratios():
    cells = row("DPO", "LoRA", {"ours": {"measured": 90.0, "estimate": 99.0}, "TRL": {"measured": 100.0}})
    assert cells == ["DPO", "LoRA", "**90**", "99", "+10 %", "", "", "100", "0.90"]
