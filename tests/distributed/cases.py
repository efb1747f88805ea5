"""What runs on every rank of the pool; results go back to the test as plain tensors and numbers."""

import functools
from pathlib import Path

import lightning.pytorch as pl
import torch

from tests import kit
from unlearn_pl.combiners import MinNorm, Scalarization
from unlearn_pl.gradients import local
from unlearn_pl.models import full_state_dict
from unlearn_pl.modules import MOLLM, FSDP2Strategy, GradDiff, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, UnlearningCrossEntropyLoss
from unlearn_pl.optim import Constant
from unlearn_pl.types import StreamView

SGD = functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9)
OPTIONS = {"optimizer": SGD, "schedule": Constant(), "gradient_clip_val": 0.5}
PRESETS = {"MOLLM": MOLLM, "GradDiff": GradDiff}


def strategy(name: str):
    return FSDP2Strategy(save_distributed_checkpoint=False) if name == "fsdp2" else name


class Recorded(kit.Recording):
    """Gramians are summed over shards, so that they can be compared with one process."""

    def on_rows(self, rows, weights) -> None:
        super().on_rows(rows, weights)
        if isinstance(self.trainer.strategy, FSDP2Strategy):
            torch.distributed.all_reduce(self.history[-1]["gramian"])


def train(preset: str, strategy_name: str, devices: int, micro_batch_size: int, options: dict | None = None):
    """Four steps of ``preset`` on 8 examples each: Gramians, weights, final weights, logged losses."""
    cls = type("Recorded", (Recorded, PRESETS[preset]), {})
    module = cls(kit.model(), **OPTIONS | (options or {}))
    data = kit.Questions(batch_size=8, micro_batch_size=micro_batch_size)
    trainer = kit.trainer(max_epochs=2, strategy=strategy(strategy_name), devices=devices)
    trainer.fit(module, data)
    return {
        "gramians": [step["gramian"] for step in getattr(module, "history", [])],
        "weights": [step["weights"] for step in getattr(module, "history", [])],
        "losses": module.descent.losses,
        "state": full_state_dict(module.model),
        "sharded": [type(p).__name__ for p in module.model.parameters()].count("DTensor"),
    }


class BrokenOnRank1(CausalLMLoss):
    """NaN in the second step, on one rank only."""

    calls = 0

    def loss(self, view: StreamView) -> torch.Tensor:
        self.calls += 1
        broken = self.calls == 2 and torch.distributed.get_rank() == 1
        return super().loss(view) * (float("nan") if broken else 1.0)


def train_with_nan(strategy_name: str, on_nonfinite: str, combiner: str):
    objectives = {"forget": UnlearningCrossEntropyLoss(), "retain": BrokenOnRank1()}
    rule = {"MinNorm": MinNorm, "Scalarization": Scalarization}[combiner]()
    module = UnlearningModule(kit.model(), objectives, rule, on_nonfinite=on_nonfinite, **OPTIONS)
    data = kit.Questions(batch_size=8, micro_batch_size=4)
    kit.trainer(max_epochs=2, strategy=strategy(strategy_name), devices=2).fit(module, data)
    finite = all(local(p).isfinite().all().item() for p in module.model.parameters())
    return {"finite": finite, "skipped": dict(module.skipped), "state": full_state_dict(module.model)}


def fit_and_save(strategy_name: str, folder: str, max_epochs: int, resume: bool):
    """Train with checkpoints at every epoch; the last one is resumed from when asked for."""
    module = MOLLM(kit.model(), **OPTIONS)
    data = kit.Questions(batch_size=8, micro_batch_size=2)
    checkpoint = pl.callbacks.ModelCheckpoint(folder, save_last=True, enable_version_counter=False)
    trainer = kit.trainer(
        max_epochs=max_epochs,
        strategy=strategy(strategy_name),
        devices=2,
        enable_checkpointing=True,
        callbacks=[checkpoint],
    )
    trainer.fit(module, data, ckpt_path=str(Path(folder) / "last.ckpt") if resume else None)
    return full_state_dict(module.model), module.windows_closed


def seen_indices(devices: int, micro_batch_size: int):
    """Forget examples of every optimizer step, as this rank saw them."""
    seen = []

    class Watching(MOLLM):
        def training_step(self, batch, batch_idx) -> None:
            seen.append([i for part in batch["forget"] for i in part["index"].tolist()])
            super().training_step(batch, batch_idx)

    data = kit.Questions(batch_size=8, micro_batch_size=micro_batch_size)
    name = "ddp" if devices > 1 else "auto"
    kit.trainer(max_epochs=2, strategy=name, devices=devices).fit(Watching(kit.model(), **OPTIONS), data)
    return seen


def train_with_bucket_views():
    from lightning.pytorch.strategies import DDPStrategy

    module = MOLLM(kit.model(), **OPTIONS)
    data = kit.Questions(batch_size=8, micro_batch_size=2)
    kit.trainer(max_epochs=2, strategy=DDPStrategy(gradient_as_bucket_view=True), devices=2).fit(module, data)
    return {"state": full_state_dict(module.model)}
