"""Every objective that the package exports, as it runs on each rank of the pool."""

import functools
import inspect

import torch

from tests import kit
from tests.distributed.cases import OPTIONS
from tests.exported import cases
from tests.lenses import lens_file
from unlearn_pl import objectives
from unlearn_pl.combiners import MinNorm
from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.models import full_state_dict
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, Objective, UnlearningCrossEntropyLoss
from unlearn_pl.references import FrozenReference

CLASSES = {
    case.cls.__name__: case
    for case in cases(objectives, Objective)
    if not case.arguments
    and not case.cls.compares_rows  # they depend on micro-batches; see test_views.py
    and ".diffusion." not in case.cls.__module__  # on images; see tests/models/diffusion/test_methods.py
}
SGD = functools.partial(torch.optim.SGD, lr=0.02)


def module_of(name: str) -> UnlearningModule:
    """The objective beside a plain one of the other role, weighed by ``MinNorm``."""
    case = CLASSES[name]
    inner = {"layer": 1, "layers": [1], "lens": lens_file(32, len(kit.tokenizer()))}  # the tiny model has two layers
    accepted = inspect.signature(case.cls).parameters
    objective = case.make(**{argument: value for argument, value in inner.items() if argument in accepted})
    other = CausalLMLoss() if objective.role == "forget" else UnlearningCrossEntropyLoss()
    reference = FrozenReference() if any(need.startswith("ref_") for need in objective.needs) else None
    options = OPTIONS | {"optimizer": SGD, "gradient_clip_val": None}
    return UnlearningModule(kit.model(), {"one": objective, "other": other}, MinNorm(), reference=reference, **options)


@functools.cache
def data(micro_batch_size: int) -> SyntheticAuthorsDataModule:
    """Four examples of every stream per step."""
    authors = dict.fromkeys(("forget_authors", "retain_authors", "holdout_authors"), 1)
    return SyntheticAuthorsDataModule(
        kit.tokenizer(), **authors, general_facts=2, batch_size=4, micro_batch_size=micro_batch_size, splits=[]
    )


def train_all(strategy: str, devices: int, micro_batch_size: int) -> dict[str, dict[str, torch.Tensor]]:
    """The weights after two steps with each objective: what starts at a zero gradient takes part in the second."""
    trained = {}
    for name in CLASSES:
        module = module_of(name)
        trainer = kit.trainer(max_steps=2, max_epochs=1, strategy=strategy, devices=devices)
        trainer.fit(module, data(micro_batch_size))
        trained[name] = full_state_dict(module.model)
    return trained
