"""Training with averaged weights or a regularizer that remembers the original ones, interrupted or not."""

import functools

import lightning.pytorch as pl
import torch

from tests import kit
from tests.distributed.cases import OPTIONS, strategy
from tests.distributed.projection_cases import Save
from unlearn_pl.callbacks import AveragedWeights, L1Sparse
from unlearn_pl.combiners import MinNorm
from unlearn_pl.models import full_state_dict
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, UnlearningCrossEntropyLoss

CALLBACKS = {
    "averaged": lambda: AveragedWeights(start_step=0),
    "sparse": lambda: L1Sparse(1e-3, relative_to="original"),
}


def trained(name: str, strategy_name: str, devices: int, save: str | None = None, ckpt_path: str | None = None):
    """The weights after four steps; the second one is saved, or resumed from."""
    adam = functools.partial(torch.optim.Adam, lr=1e-3, eps=1e-3)
    objectives = {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()}
    module = UnlearningModule(kit.model(), objectives, MinNorm(), **OPTIONS | {"optimizer": adam})
    callbacks: list[pl.Callback] = [CALLBACKS[name](), Save(save)]
    trainer = kit.trainer(
        strategy=strategy(strategy_name), devices=devices, max_steps=4, max_epochs=-1, callbacks=callbacks
    )
    trainer.fit(module, kit.Questions(batch_size=8, micro_batch_size=4), ckpt_path=ckpt_path)
    return full_state_dict(module.model)
