"""Gradients without the principal directions of their tokens, and projected steps, on each rank of the pool."""

import functools

import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from tests import kit
from tests.distributed.cases import OPTIONS, strategy
from unlearn_pl.callbacks import StepProjection
from unlearn_pl.combiners import GramianCombiner, MinNorm
from unlearn_pl.gradients import CollapseIrrelevant
from unlearn_pl.models import full_state_dict
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, UnlearningCrossEntropyLoss


def train(strategy_name: str, devices: int, micro_batch_size: int, collapse: bool = True) -> dict[str, torch.Tensor]:
    """The weights after three steps on 8 examples each; the second reuses the directions of the first."""
    source = CollapseIrrelevant(inputs=6, outputs=9, measure_every=2) if collapse else None
    options = OPTIONS | {"optimizer": functools.partial(torch.optim.SGD, lr=0.2)}
    objectives = {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()}
    module = UnlearningModule(kit.model(), objectives, MinNorm(), gradient=source, **options)
    data = kit.Questions(batch_size=8, micro_batch_size=micro_batch_size)
    kit.trainer(max_steps=3, max_epochs=2, strategy=strategy(strategy_name), devices=devices).fit(module, data)
    return full_state_dict(module.model)


class ForgetAlone(GramianCombiner):
    """Descends the forget objective, whatever that does to the other."""

    def weigh(self, gramian: torch.Tensor, losses: torch.Tensor) -> torch.Tensor:
        return torch.tensor([1.0, 0.0], dtype=torch.float64)


def project(strategy_name: str, devices: int, micro_batch_size: int, folder: str, metric: str = "euclidean", **fitting):
    """The weights after four steps, each projected on three retain gradients, and the remembered ones of rank 0.

    A checkpoint is written after every step.
    """
    adam = functools.partial(torch.optim.Adam, lr=1e-3)
    objectives = {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()}
    module = UnlearningModule(kit.model(), objectives, ForgetAlone(), **OPTIONS | {"optimizer": adam})
    guard = StepProjection(2, metric=metric)
    saving = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
    options = {"max_steps": 4, "max_epochs": -1, "callbacks": [guard, saving], "enable_checkpointing": True}
    trainer = kit.trainer(strategy=strategy(strategy_name), devices=devices, **options)
    trainer.fit(module, kit.Questions(batch_size=8, micro_batch_size=micro_batch_size), **fitting)
    return full_state_dict(module.model), guard.state_dict()["rows"]
