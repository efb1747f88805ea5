"""The smallest run that has several gradients per step: 2 steps an epoch, 2 layers of width 16."""

import functools
import warnings

import lightning.pytorch as pl
import torch

from tests import kit
from unlearn_pl.combiners import MinNorm
from unlearn_pl.models import tiny_llama
from unlearn_pl.modules import GradDiff

ADAMW = functools.partial(torch.optim.AdamW, lr=3e-3)


def model(seed: int = 0):
    return tiny_llama(len(kit.tokenizer()), hidden_size=16, num_layers=2, num_heads=2, seed=seed)


def module(kind=GradDiff, **options):
    return kind(model(), **({"combiner": MinNorm(), "optimizer": ADAMW} | options))


def data(**options):
    return kit.Questions(forget=8, retain=8, **({"batch_size": 4, "micro_batch_size": 2} | options))


def weights(of) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in of.named_parameters()}


class Seen(pl.Callback):
    """Keeps the weights after every step, and those that each validation sees; may end the run after a step."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.steps: dict[int, dict[str, torch.Tensor]] = {}
        self.validated: list[dict[str, torch.Tensor]] = []
        self.batches = dict.fromkeys(("validate", "test", "predict"), 0)
        self.stop_at = stop_at

    def on_train_batch_end(self, trainer, pl_module, *_) -> None:
        self.steps[trainer.global_step] = weights(pl_module)
        trainer.should_stop = trainer.should_stop or trainer.global_step == self.stop_at

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0) -> None:
        self.batches["validate"] += 1
        if not batch_idx and not dataloader_idx:
            self.validated.append(weights(pl_module))

    def on_test_batch_start(self, *_) -> None:
        self.batches["test"] += 1

    def on_predict_batch_start(self, *_) -> None:
        self.batches["predict"] += 1


def fit(*callbacks, module=module, data=data, ckpt_path=None, **options):
    """The Trainer and the module after ``fit`` of one epoch, with whatever Lightning warns of left aside."""
    fitted = module() if callable(module) and not isinstance(module, pl.LightningModule) else module
    options = {"max_epochs": 1, "callbacks": list(callbacks)} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(accelerator="cpu", **options) if options.get("barebones") else kit.trainer(**options)
        trainer.fit(fitted, data(), ckpt_path=ckpt_path)
    return trainer, fitted


def assert_same(left, right) -> None:
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name
