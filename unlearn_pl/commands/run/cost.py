"""What training has cost, for reports: ``cost.json`` in the folder of a run."""

from pathlib import Path

import lightning.pytorch as pl
import torch

from unlearn_pl.callbacks import BackwardPasses
from unlearn_pl.callbacks.export.tracking import keep_summary
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.results import write_json

COST = "cost.json"


def write_cost(folder: str | Path, trainer: pl.Trainer, seconds: float) -> None:
    """Write ``cost.json``: seconds of this invocation, steps, backward passes, devices, and the peak of their memory.

    Args:
        folder: of the run.
        trainer: has trained.
        seconds: duration of training; a resumed run counts from where it resumed.
    """
    module, device = trainer.lightning_module, trainer.strategy.root_device
    steps = module.windows_closed if isinstance(module, UnlearningModule) else trainer.global_step
    on_gpu = device.type == "cuda"
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    passes = [callback.count for callback in callbacks if isinstance(callback, BackwardPasses)]
    content = {
        "seconds": seconds,
        "steps": steps,
        "devices": trainer.world_size,
        "device": torch.cuda.get_device_name(device) if on_gpu else device.type,
        "peak_memory": torch.cuda.max_memory_allocated(device) if on_gpu else None,
    }
    content |= {"backward_passes": passes[0]} if passes else {}
    write_json(Path(folder) / COST, content)
    keep_summary(trainer, {f"cost/{name}": value for name, value in content.items() if value is not None})
