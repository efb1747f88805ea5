"""One trial of the study of relearning: a tiny model unlearns, and is attacked."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import lightning.pytorch as pl
import torch
from torch import nn

from experiments.studies.combiners.run import EPOCHS, World, metrics_of
from unlearn_pl.callbacks import AveragedWeights
from unlearn_pl.commands.story import quiet
from unlearn_pl.gradients import SharpnessAware
from unlearn_pl.modules import MOLLM, NPO, GradDiff, PretrainedModule, SimNPO, UnlearningModule
from unlearn_pl.robustness import RandomFraction, Relearning

FORGET = "forget_probability"


@dataclass(frozen=True)
class Method:
    """A method, and the weights of its forget loss that are tried.

    Attributes:
        module: makes the module; takes ``forget_weight`` where there are weights.
        forget_weights: tried beside the learning rates; none for MOLLM, which finds them itself.
        betas: of SimNPO, which with its default stops short of the retain model's level here.
    """

    module: Callable[..., UnlearningModule]
    forget_weights: tuple[float | None, ...] = (None,)
    betas: tuple[float | None, ...] = (None,)


METHODS = {
    "MOLLM": Method(MOLLM),
    "NPO": Method(NPO, (0.5, 1.0)),
    "SimNPO": Method(SimNPO, (0.5, 2.0, 8.0), betas=(None, 1.0)),
    "GradDiff": Method(GradDiff, (0.1, 0.3, 1.0)),
}
RATES = (2e-3, 4e-3, 8e-3, 1.6e-2)


@dataclass(frozen=True)
class Setting:
    """How a model unlearns.

    Attributes:
        method: name in ``METHODS``.
        rate: learning rate.
        forget_weight: of the forget loss; None for MOLLM.
        beta: of SimNPO; None for its default.
        rho: radius of SAM; None for plain gradients.
        averaging: step from which on weights are averaged; None for the last weights.
    """

    method: str
    rate: float
    forget_weight: float | None = None
    beta: float | None = None
    rho: float | None = None
    averaging: int | None = None


class RelearningWorld(World):
    """A world of the study of combiners, in which unlearned models are attacked."""

    def unlearned(self, setting: Setting) -> tuple[nn.Module, dict[str, float]]:
        """An unlearned model, its forget probability, and its utility as a share of the target's."""
        pl.seed_everything(self.seed, verbose=False)
        options: dict[str, object] = {"optimizer": partial(torch.optim.AdamW, lr=setting.rate)}
        for name in ("forget_weight", "beta"):
            if getattr(setting, name) is not None:
                options[name] = getattr(setting, name)
        if setting.rho is not None:
            options["gradient"] = SharpnessAware(setting.rho)
        callbacks = [] if setting.averaging is None else [AveragedWeights(setting.averaging, 1)]
        module = METHODS[setting.method].module(deepcopy(self.target), **options)
        trainer = self._trainer(
            max_epochs=EPOCHS, check_val_every_n_epoch=EPOCHS, callbacks=[*callbacks, self._evaluation()]
        )
        with quiet():
            trainer.fit(module, self._unlearning_data)
        assert module.model is not None
        return module.model, self._figures(trainer)

    def retain_figures(self) -> dict[str, float]:
        """Forget probability and utility of the retain model."""
        trainer = self._trainer(callbacks=[self._evaluation()])
        with quiet():
            trainer.validate(PretrainedModule(self.retain_model), self._unlearning_data, verbose=False)
        return self._figures(trainer)

    def relearn(self, model: nn.Module, attack: Relearning) -> dict[str, object]:
        """What a relearning attack finds out about ``model``."""
        with quiet():
            found = attack.run(self.subject(model))
        return {
            "step": list(found.curve["step"]),
            "curve": list(found.curve[FORGET]),
            "area": found.after[f"{FORGET}_area"],
            "half": found.after[f"{FORGET}_half"],
        }

    def _figures(self, trainer: pl.Trainer) -> dict[str, float]:
        metrics = metrics_of(trainer)
        return {FORGET: metrics[FORGET], "utility": metrics["utility"] / self.target_metrics["utility"]}


def make_attack(rate: float, steps: int, fraction: float = 0.2) -> Relearning:
    """Fine-tuning on a random fifth of the forget set, all of it in every step."""
    return Relearning(
        RandomFraction(fraction), steps=steps, evaluate_every=2, learning_rate=rate, batch_size=8, answers=False
    )
