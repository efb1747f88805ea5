"""Gradients without the principal directions of their tokens, as they are computed on each rank of the pool."""

import functools

import torch

from tests import kit
from tests.distributed.cases import OPTIONS, strategy
from unlearn_pl.combiners import MinNorm
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
