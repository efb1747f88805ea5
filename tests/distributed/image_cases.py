"""Methods on an image classifier, on one process or on two ranks."""

import functools

import torch

from tests import kit
from tests.pictures import classifier, pictures
from unlearn_pl.combiners import MinNorm
from unlearn_pl.goals import AtLeast, AtMost
from unlearn_pl.modules import MOLLM, NPO, GradDiff, KLMin, SimNPO, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, UnlearningCrossEntropyLoss
from unlearn_pl.optim import Constant

OPTIONS = {"optimizer": functools.partial(torch.optim.AdamW, lr=1e-2), "schedule": Constant()}
STEADY = {**OPTIONS, "optimizer": functools.partial(torch.optim.AdamW, lr=1e-2, betas=(0.5, 0.999))}
OBJECTIVES = {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()}

CASES = {
    "uce": lambda: UnlearningModule(classifier(), dict(OBJECTIVES), MinNorm(), **OPTIONS),
    "npo": lambda: NPO(classifier(), **OPTIONS),
    "simnpo": lambda: SimNPO(classifier(), **OPTIONS),
    "kl": lambda: KLMin(classifier(), **OPTIONS),
    "graddiff": lambda: GradDiff(classifier(), **OPTIONS),
    "mollm": lambda: MOLLM(classifier(), combiner=MinNorm(), **OPTIONS),
    "goals": lambda: MOLLM(classifier(), goals={"forget": AtMost(0.1), "retain": AtLeast(share=0.9)}, **STEADY),
}

ON_RANKS = ("uce", "npo", "goals")


def trained(name: str, micro_batch_size: int, max_steps: int = 4, **trainer_options) -> dict[str, torch.Tensor]:
    """The weights after some steps of 8 images per stream."""
    module = CASES[name]()
    trainer = kit.trainer(max_steps=max_steps, precision="64-true", **trainer_options)
    trainer.fit(module, pictures(batch_size=8, micro_batch_size=micro_batch_size))
    return {key: value.detach().clone() for key, value in module.model.state_dict().items()}


def all_cases() -> dict[str, dict[str, torch.Tensor]]:
    """Some cases on two ranks."""
    return {name: trained(name, micro_batch_size=2, devices=2, strategy="ddp") for name in ON_RANKS}
