"""Every option of the step, as it runs on each rank of the pool."""

import functools

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from tests import kit
from tests.distributed.cases import OPTIONS, Recorded, strategy
from unlearn_pl.combiners import MinNorm, RowCombiner, Scalarization
from unlearn_pl.gradients import (
    CollapseIrrelevant,
    FirstOrder,
    RandomSmoothing,
    ScatteredRows,
    SharpnessAware,
    SketchedRows,
    UnlearningAware,
    combine,
    local,
)
from unlearn_pl.models import full_state_dict
from unlearn_pl.modules import FSDP2Strategy, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, UnlearningCrossEntropyLoss
from unlearn_pl.optim import DualOptim


class Shrunk(RowCombiner):
    """Half of the mean where both agree in sign, the second one elsewhere."""

    def merge(self, gradients):
        first, second = gradients
        if first is None or second is None:
            return second if first is None else first
        return torch.where(first.sign() == second.sign(), 0.25 * (first + second), second)


ADAM = functools.partial(torch.optim.AdamW, lr=1e-3, eps=1e-2)
DUAL = functools.partial(DualOptim, lr=1e-3, eps=1e-2)
VARIANTS = {
    "group": (MinNorm, {"scope": "group"}),
    "tensor": (MinNorm, {"scope": "tensor"}),
    "adam": (MinNorm, {"metric": "adam", "optimizer": ADAM}),
    "rescale": (MinNorm, {"rescale": "mean_norm"}),
    "rows": (Shrunk, {}),
    "sam": (MinNorm, {"gradient": SharpnessAware(0.3)}),
    "sam_sum": (Scalarization, {"gradient": SharpnessAware(0.3)}),
    "aware": (MinNorm, {"gradient": UnlearningAware(0.3)}),
    "rosu": (MinNorm, {"gradient": UnlearningAware(0.3, orthogonal=True)}),
    "collapse": (MinNorm, {"gradient": CollapseIrrelevant(6, 9, measure_every=2)}),
    "dual": (MinNorm, {"optimizer": DUAL}),
    "dual_plus": (MinNorm, {"optimizer": functools.partial(DUAL, shared=True)}),
    "dual_sum": (Scalarization, {"optimizer": DUAL}),
    "refresh": (MinNorm, {"refresh_every": 3}),
    "scattered": (MinNorm, {"gradient": FirstOrder(rows=ScatteredRows())}),
    "scattered_tensor": (MinNorm, {"gradient": FirstOrder(rows=ScatteredRows()), "scope": "tensor"}),
    "scattered_dual": (MinNorm, {"gradient": FirstOrder(rows=ScatteredRows()), "optimizer": DUAL}),
    "sketch": (MinNorm, {"gradient": SketchedRows(), "refresh_every": 2}),
    "smoothing": (MinNorm, {"gradient": RandomSmoothing(0.05)}),
}


class Variant(Recorded, UnlearningModule):
    """UCE and NLL."""


def train(variant: str, strategy_name: str, devices: int, micro_batch_size: int):
    """Four steps on 8 examples each: final weights, and whether the model is sharded."""
    combiner, options = VARIANTS[variant]
    objectives = {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()}
    module = Variant(kit.model(), objectives, combiner(), **OPTIONS | options)
    data = kit.Questions(batch_size=8, micro_batch_size=micro_batch_size)
    kit.trainer(max_epochs=2, strategy=strategy(strategy_name), devices=devices).fit(module, data)
    sharded = any(type(p).__name__ == "DTensor" for p in module.model.parameters())
    return {"state": full_state_dict(module.model), "sharded": sharded, "closed": module.windows_closed}


def resume(variant: str, folder: str, distributed_checkpoint: bool):
    """Final weights of four steps in one go, and of two and two with a checkpoint of shards in between."""
    states = []
    for steps, ckpt_path in ((4, None), (2, None), (4, f"{folder}/half.ckpt")):
        combiner, options = VARIANTS[variant]
        objectives = {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()}
        module = UnlearningModule(kit.model(), objectives, combiner(), **OPTIONS | options)
        trainer = kit.trainer(max_steps=steps, strategy=FSDP2Strategy(distributed_checkpoint), devices=2)
        trainer.fit(module, kit.Questions(batch_size=8, micro_batch_size=4), ckpt_path=ckpt_path)
        if steps == 2:
            trainer.save_checkpoint(f"{folder}/half.ckpt")
        states.append(full_state_dict(module.model))
    return states[0], states[2]


def combine_with_a_row_that_waited_as_plain_shards(weights):
    """The whole combination of ``[1, ..., 5]`` and of ones, of which the first is no DTensor (as in OffloadedRows)."""
    mesh = init_device_mesh("cpu", (2,))
    waited, last = (distribute_tensor(t, mesh, [Shard(0)]) for t in (torch.arange(1.0, 6), torch.ones(5)))
    parameter = nn.Parameter(torch.zeros_like(last))
    combine([parameter], [[local(waited)], [last]], [weights])
    return parameter.grad.full_tensor()
