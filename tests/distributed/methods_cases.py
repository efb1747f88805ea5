"""Methods and combiners, as they run on each rank of the pool."""

import functools

import torch

from tests import kit
from tests.distributed.cases import OPTIONS, strategy
from unlearn_pl import modules
from unlearn_pl.combiners import SAGO, GradDrop, MinNorm, PrimalDual, Scalarization, TorchJD
from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.models import full_state_dict

COMBINERS = {
    "Scalarization": Scalarization,
    "MinNorm": MinNorm,
    "PrimalDual": lambda: PrimalDual(budget=4.0, step_size=0.5),
    "PCGrad": lambda: TorchJD("PCGrad"),
    "SAGO": SAGO,
    "GradDrop": GradDrop,
}
CASES = [
    ("RMU", "Scalarization"),
    ("RMU", "MinNorm"),
    ("NPO", "MinNorm"),
    ("IdkDPO", "Scalarization"),
    ("JensUn", "Scalarization"),
    ("GradDiff", "PrimalDual"),
    ("GradDiff", "PCGrad"),
    ("GradDiff", "SAGO"),
    ("GradDiff", "GradDrop"),
]
SGD = functools.partial(torch.optim.SGD, lr=0.02)


def train(preset: str, combiner: str, strategy_name: str, devices: int, micro_batch_size: int):
    """Three steps on 4 examples each: final weights, and the combiner's state."""
    layer = {"layer": 1} if preset == "RMU" else {}
    options = OPTIONS | {"optimizer": SGD, "gradient_clip_val": None}
    module = getattr(modules, preset)(kit.model(), combiner=COMBINERS[combiner](), **layer, **options)
    authors = dict.fromkeys(("forget_authors", "retain_authors", "holdout_authors"), 2)
    data = SyntheticAuthorsDataModule(
        kit.tokenizer(), **authors, general_facts=2, batch_size=4, micro_batch_size=micro_batch_size, splits=[]
    )
    kit.trainer(max_epochs=1, max_steps=3, strategy=strategy(strategy_name), devices=devices).fit(module, data)
    multiplier = getattr(module.combiner, "multiplier", 0.0)
    return {"state": full_state_dict(module.model), "closed": module.windows_closed, "multiplier": multiplier}
