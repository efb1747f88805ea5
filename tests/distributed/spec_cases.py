"""Trainings of models of a user's own, on one process or on two ranks."""

import functools

import torch

from tests import kit
from tests.specs import Classifier, Denoiser, NoisePredictionLoss, Vectors
from unlearn_pl.combiners import MinNorm
from unlearn_pl.masks import TrainableParameters
from unlearn_pl.modules import MOLLM, NPO, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, UnlearningCrossEntropyLoss
from unlearn_pl.optim import Constant

OPTIONS = {"optimizer": functools.partial(torch.optim.AdamW, lr=1e-2), "schedule": Constant()}


def classifier(**options) -> UnlearningModule:
    objectives = {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()}
    return UnlearningModule(Classifier(), objectives, MinNorm(), **OPTIONS, **options)


def denoiser(**options) -> UnlearningModule:
    objectives = {"forget": NoisePredictionLoss("forget", -1.0), "retain": NoisePredictionLoss("retain")}
    return UnlearningModule(Denoiser(), objectives, MinNorm(), **OPTIONS, **options)


CASES = {
    "min_norm": classifier,
    "npo": lambda: NPO(Classifier(), **OPTIONS),
    "mollm": lambda: MOLLM(Classifier(), combiner=MinNorm(), **OPTIONS),
    "masked": lambda: classifier(mask=TrainableParameters(["2"])),
    "refreshed": lambda: classifier(refresh_every=3),
    "by_tensor": lambda: classifier(scope="tensor"),
    "denoiser": denoiser,
    "denoiser_refreshed": lambda: denoiser(refresh_every=3),
    "denoiser_by_tensor": lambda: denoiser(scope="tensor"),
}


def trained(name: str, micro_batch_size: int, max_steps: int = 5, **trainer_options) -> dict[str, torch.Tensor]:
    """The weights after some steps of 8 examples per stream."""
    module = CASES[name]()
    trainer = kit.trainer(max_steps=max_steps, precision="64-true", **trainer_options)
    trainer.fit(module, Vectors(batch_size=8, micro_batch_size=micro_batch_size))
    assert module.model is not None
    return {key: value.detach().clone() for key, value in module.model.state_dict().items()}


def all_cases() -> dict[str, dict[str, torch.Tensor]]:
    """Every case on two ranks."""
    return {name: trained(name, micro_batch_size=2, devices=2, strategy="ddp") for name in CASES}
