"""Zeroth-order gradients as they run on each rank of the pool."""

import contextlib
import functools
from unittest import mock

import torch

from tests import kit
from tests.distributed.cases import strategy
from unlearn_pl.combiners import MinNorm
from unlearn_pl.gradients import CoordinateWise, GraspCoordinates, RandomCoordinates, ZerothOrder
from unlearn_pl.masks import ElementMask
from unlearn_pl.models import full_state_dict
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, UnlearningCrossEntropyLoss
from unlearn_pl.optim import Constant

SOURCES = {
    "directions": lambda: ZerothOrder(4),
    "coordinates": lambda: CoordinateWise(RandomCoordinates(6, 2)),
    "scores": lambda: CoordinateWise(GraspCoordinates(6, queries=4)),
}
MASKED = "model.layers.0.mlp.down_proj.weight"


COLLECTIVES = ("all_reduce", "all_gather", "all_gather_into_tensor", "reduce_scatter_tensor", "broadcast", "barrier")


class Counting(UnlearningModule):
    """Keeps what is communicated in each step: name of the collective, and number of elements."""

    def training_step(self, batch, batch_idx):
        sent = []

        def watched(name, collective):
            return lambda *args, **options: sent.append((name, args[0].numel())) or collective(*args, **options)

        with contextlib.ExitStack() as stack:
            for name in COLLECTIVES:
                collective = getattr(torch.distributed, name)
                stack.enter_context(mock.patch(f"torch.distributed.{name}", watched(name, collective)))
            super().training_step(batch, batch_idx)
        self.sent = [*getattr(self, "sent", []), sent]


def train(source: str, strategy_name: str, devices: int, micro_batch_size: int, lr: float = 0.02, masked: bool = False):
    """Five steps: final weights, what was sent in each, and whether the model is sharded."""
    model = kit.model(dtype=torch.float64)
    objectives = {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()}
    marks = torch.arange(dict(model.named_parameters())[MASKED].numel()).view_as(dict(model.named_parameters())[MASKED])
    mask = ElementMask({MASKED: marks % 3 == 1}) if masked else None
    optimizer = functools.partial(torch.optim.SGD, lr=lr)
    module = Counting(
        model, objectives, MinNorm(), gradient=SOURCES[source](), mask=mask, optimizer=optimizer, schedule=Constant()
    )
    trainer = kit.trainer(max_steps=5, strategy=strategy(strategy_name), devices=devices)
    trainer.fit(module, kit.Questions(batch_size=8, micro_batch_size=micro_batch_size))
    sharded = any(type(p).__name__ == "DTensor" for p in module.model.parameters())
    own = {name: value.detach().clone() for name, value in module.model.named_parameters()}
    return {"state": full_state_dict(module.model) if sharded else own, "sent": module.sent, "sharded": sharded}


def refused() -> str:
    """Why coordinates by scores are not chosen among shards."""
    try:
        train("scores", "fsdp2", 2, 2)
    except ValueError as error:
        return str(error)
    return "nothing was raised"
