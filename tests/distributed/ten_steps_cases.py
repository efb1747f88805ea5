"""Ten steps of methods that use every part of the engine, as they run on each rank of the pool."""

import functools

import torch

from tests import kit
from tests.distributed.cases import Recorded, strategy
from unlearn_pl.combiners import SAGO, GoalBarrier, MinNorm
from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.goals import AtLeast, AtMost
from unlearn_pl.gradients import RoleSums
from unlearn_pl.masks import TrainableParameters
from unlearn_pl.models import full_state_dict
from unlearn_pl.modules import MOLLM, NPO, RMU, GradDiff
from unlearn_pl.optim import Constant
from unlearn_pl.references import CachedReference

SGD = functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9)
SUFFIX = TrainableParameters([r"layers\.0\.mlp", r"layers\.0\.self_attn\.o_proj"])
GOALS = {"forget": AtMost("start", share=0.9), "retain": AtLeast(share=0.9)}
METHODS = {
    "MOLLM": lambda model, folder, **options: MOLLM(model, **options),
    "NPO, cached": lambda model, folder, **options: NPO(
        model, combiner=MinNorm(), reference=CachedReference(folder), **options
    ),
    "RMU, suffix": lambda model, folder, **options: RMU(model, layer=1, combiner=MinNorm(), mask=SUFFIX, **options),
    "SAGO": lambda model, folder, **options: GradDiff(model, combiner=SAGO(), **options),
    "tensor": lambda model, folder, **options: MOLLM(model, scope="tensor", **options),
    "goals": lambda model, folder, **options: MOLLM(model, combiner=GoalBarrier(), goals=GOALS, **options),
    "roles": lambda model, folder, **options: MOLLM(
        model, combiner=GoalBarrier(), goals=GOALS, gradient=RoleSums(4), **options
    ),
    "refresh": lambda model, folder, **options: MOLLM(model, refresh_every=4, **options),
}


def train(method: str, strategy_name: str, devices: int, micro_batch_size: int, folder: str):
    """Gramians and final weights; fp64, so that only mistakes differ."""
    module = METHODS[method](
        kit.model(dtype=torch.float64), folder, optimizer=SGD, schedule=Constant(), gradient_clip_val=0.5
    )
    cls = type(module)
    module.__class__ = type(f"Recorded{cls.__name__}", (Recorded, cls), {})
    authors = dict.fromkeys(("forget_authors", "retain_authors", "holdout_authors"), 2)
    data = SyntheticAuthorsDataModule(
        kit.tokenizer(), **authors, general_facts=2, batch_size=8, micro_batch_size=micro_batch_size, splits=[]
    )
    kit.trainer(max_epochs=10, max_steps=10, strategy=strategy(strategy_name), devices=devices).fit(module, data)
    return {
        "gramians": [step["gramian"] for step in module.history],
        "state": full_state_dict(module.model),
        "closed": module.windows_closed,
        "progress": module.descent.goals.progress,
        "distance": module.descent.goals.standing.distance,
    }
