"""What the tests of text-to-image models share: a very small one, and few images of digits in styles."""

import functools
import tempfile
from collections.abc import Callable

import torch

from tests import kit
from unlearn_pl.combiners import MinNorm
from unlearn_pl.data import ForgetStyle, MiniCanvasDataModule
from unlearn_pl.models import DDIM, ModelSpec, TinyUNet
from unlearn_pl.modules import ESD, MOLLM, EraseDiff, GradAscent, GradDiff, KLMin, SalUn, UnlearningModule
from unlearn_pl.objectives import DenoisingLoss, ESDLoss
from unlearn_pl.optim import Constant
from unlearn_pl.references import FrozenReference

OPTIONS = {"optimizer": functools.partial(torch.optim.SGD, lr=0.1), "schedule": Constant()}


def unet(**options) -> TinyUNet:
    """A model with random weights."""
    given = {"width": 8, "sampler": DDIM(steps=2, guidance=1.5), **options}
    return TinyUNet(MiniCanvasDataModule.WORDS, **given)


def canvas(**options) -> MiniCanvasDataModule:
    """Two images of every pair; crimson is to be forgotten."""
    given = {"images_per_pair": 2, "sample_seeds": [188], "real_per_pair": 1, "batch_size": 8, **options}
    return MiniCanvasDataModule(**{"forget": ForgetStyle("crimson"), **given})


METHODS: dict[str, Callable[..., UnlearningModule]] = {
    "salun": SalUn,
    "esd": ESD,
    "erasediff": EraseDiff,
    "mollm": MOLLM,
    "ascent": GradAscent,
    "graddiff": GradDiff,
    "klmin": KLMin,
    "esd and retain": lambda model, **options: UnlearningModule(
        model, {"forget": ESDLoss(), "retain": DenoisingLoss()}, MinNorm(), FrozenReference(), **options
    ),
}
ON_RANKS = ("salun", "mollm", "esd and retain")


def trained(name: str, micro_batch_size: int = 8, max_steps: int = 3, **trainer_options) -> dict[str, torch.Tensor]:
    """The weights after some steps of 8 images per stream."""
    module = METHODS[name](unet(), **OPTIONS)
    trainer = kit.trainer(max_steps=max_steps, max_epochs=-1, precision="64-true", **trainer_options)
    trainer.fit(module, canvas(micro_batch_size=micro_batch_size, splits=["retain"]))
    assert sum(module.skipped.values()) == 0
    return {key: value.detach().clone() for key, value in module.model.state_dict().items()}


def on_ranks(strategy: str = "ddp") -> dict[str, dict[str, torch.Tensor]]:
    """Some methods on two ranks."""
    return {name: trained(name, micro_batch_size=2, devices=2, strategy=strategy) for name in ON_RANKS}


def sampled_on_ranks() -> tuple[dict, dict]:
    """Metrics and scores of an evaluation on two ranks."""
    return evaluated(devices=2, strategy="ddp")


def evaluated(model: ModelSpec | None = None, **trainer_options) -> tuple[dict, dict]:
    """Metrics and scores of the random model, with random classifiers."""
    from unlearn_pl.callbacks import CanvasEvaluation
    from unlearn_pl.models import MLP, ImageClassifier
    from unlearn_pl.modules import PretrainedModule

    judges = [
        ImageClassifier(functools.partial(MLP, num_pixels=192, num_classes=classes, hidden_sizes=[4]))
        for classes in (4, 6)
    ]
    with tempfile.TemporaryDirectory() as folder:
        evaluation = CanvasEvaluation(*judges)
        trainer = kit.trainer(callbacks=[evaluation], default_root_dir=folder, **trainer_options)
        trainer.test(PretrainedModule(model or unet()), canvas(eval_batch_size=5), verbose=False)
    return dict(evaluation.results.metrics), dict(evaluation.results.per_example)
