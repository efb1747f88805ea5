"""Sparse training of a classifier and of a language model, on one process or on two ranks."""

import functools

import torch

from tests import kit
from tests.pictures import classifier, pictures
from unlearn_pl.callbacks import L1Sparse
from unlearn_pl.masks import PrunedWeights
from unlearn_pl.models import full_state_dict
from unlearn_pl.modules import FineTuning
from unlearn_pl.optim import Constant


def module(optimizer, mask=None):
    return FineTuning(classifier(), stream="train", mask=mask, optimizer=optimizer, schedule=Constant())


def fitted(*penalties: L1Sparse, max_steps: int = 2, lr: float = 0.1, optimizer=None, mask=None):
    """A classifier that was trained with penalties, and the last of them."""
    trained = module(optimizer or functools.partial(torch.optim.SGD, lr=lr), mask)
    kit.trainer(max_steps=max_steps, callbacks=list(penalties)).fit(trained, pictures())
    return trained, penalties[-1] if penalties else None


def both(devices: int, strategy: str) -> dict[str, tuple[float, dict[str, torch.Tensor]]]:
    """Share of the penalized weights at 0 or unchanged, and the weights: with a penalty and with pruned weights."""
    cases = {
        "penalty": (L1Sparse(weight=0.3), None),
        "change": (L1Sparse(weight=0.3, relative_to="original"), None),
        "pruned": (L1Sparse(weight=1e-9), PrunedWeights(0.7)),
    }
    found = {}
    for name, (penalty, mask) in cases.items():
        sgd = functools.partial(torch.optim.SGD, lr=0.05)
        trained = FineTuning(kit.model(dtype=torch.float64), mask=mask, optimizer=sgd, schedule=Constant())
        options = {"precision": "64-true", "devices": devices, "strategy": strategy}
        trainer = kit.trainer(max_steps=3, callbacks=[penalty], **options)
        trainer.fit(trained, kit.Questions(batch_size=4, micro_batch_size=4 // devices))
        weights = {key: value.clone() for key, value in full_state_dict(trained.model).items()}
        found[name] = (penalty.share, weights)
    return found
