"""Steps that are projected on remembered retain gradients, as they are taken on each rank of the pool."""

import functools

import lightning.pytorch as pl
import torch

from tests import kit
from tests.distributed.cases import OPTIONS, strategy
from unlearn_pl.callbacks import StepProjection
from unlearn_pl.combiners import GramianCombiner
from unlearn_pl.models import full_state_dict
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, GradientAscentLoss, UnlearningCrossEntropyLoss


class ForgetAlone(GramianCombiner):
    """Descends the forget objective, whatever that does to the other."""

    def weigh(self, gramian: torch.Tensor, losses: torch.Tensor) -> torch.Tensor:
        return torch.tensor([1.0, 0.0], dtype=torch.float64)


class Save(pl.Callback):
    """Writes a checkpoint after the second step."""

    def __init__(self, path: str | None) -> None:
        self.path = path

    def on_train_batch_end(self, trainer, *_) -> None:
        if trainer.global_step == 2 and self.path is not None:
            trainer.save_checkpoint(self.path)


def project(
    strategy_name: str,
    devices: int,
    micro_batch_size: int,
    metric: str,
    save: str | None = None,
    ckpt_path: str | None = None,
):
    """The weights after four steps, each projected on three retain gradients, and the remembered ones of rank 0."""
    adam = functools.partial(torch.optim.Adam, lr=1e-3, eps=1e-3)  # or rounding decides where gradients are tiny
    objectives = {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()}
    module = UnlearningModule(kit.model(), objectives, ForgetAlone(), **OPTIONS | {"optimizer": adam})
    guard = StepProjection(2, metric=metric)
    options = {"max_steps": 4, "max_epochs": -1, "callbacks": [guard, Save(save)]}
    trainer = kit.trainer(strategy=strategy(strategy_name), devices=devices, **options)
    trainer.fit(module, kit.Questions(batch_size=8, micro_batch_size=micro_batch_size), ckpt_path=ckpt_path)
    return full_state_dict(module.model), guard.state_dict()["rows"]


class Shares(pl.Callback):
    """Keeps what was left of each step."""

    def __init__(self) -> None:
        self.kept: list[float] = []

    def on_train_batch_end(self, trainer, *_) -> None:
        self.kept.append(float(trainer.callback_metrics["train/projection/share"]))


def halve(strategy_name: str, devices: int, micro_batch_size: int):
    """The weights after two large steps that were halved while they raised the retain loss, and what was left of each.

    Steps of SGD are continuous in the gradients, so that rounding does not decide.
    """
    sgd = functools.partial(torch.optim.SGD, lr=5.0)
    objectives = {"forget": GradientAscentLoss(), "retain": CausalLMLoss()}
    options = OPTIONS | {"optimizer": sgd, "gradient_clip_val": None}
    module = UnlearningModule(kit.model(), objectives, ForgetAlone(), **options)
    shares = Shares()
    options = {"max_steps": 2, "max_epochs": -1, "callbacks": [StepProjection(0, backtracks=8), shares]}
    trainer = kit.trainer(strategy=strategy(strategy_name), devices=devices, **options)
    trainer.fit(module, kit.Questions(batch_size=8, micro_batch_size=micro_batch_size))
    return full_state_dict(module.model), shares.kept
