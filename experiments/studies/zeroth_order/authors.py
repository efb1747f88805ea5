"""The language model of the study: tiny, and trained on facts about fictitious authors, one of whom it is to forget."""

from copy import deepcopy
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import torch
from torch import nn

from experiments.studies.combiners.run import World, metrics_of
from experiments.studies.zeroth_order.tables import Trial
from unlearn_pl.commands.story import quiet
from unlearn_pl.models.weight_layout import weight_matrices
from unlearn_pl.modules import FineTuning, PretrainedModule
from unlearn_pl.optim import Constant
from unlearn_pl.robustness import IntegerRounding

RELEARNING_STEPS = 4


class Authors(World):
    """One of four authors is to be forgotten.

    Args:
        folder: where models are kept.
        seed: of facts, initial weights and order of examples.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed, forget_authors=1, retain_authors=3)

    def figures_before(self) -> Trial:
        """Of the target."""
        return self.figures(self.target)

    def figures_of_retrained(self) -> Trial:
        """Of the model that never saw the author."""
        _ = self.target
        return self.figures(self._memorized("retain"))

    def figures(self, model: nn.Module) -> Trial:
        """Probability of the forget answers and utility, now, after relearning and after rounding to 4 bits."""
        own, rounded = self.evaluated(model), self.evaluated(_rounded(model))
        return {
            "forget_probability": own["forget_probability"],
            "utility": own["utility"],
            "relearned": self.evaluated(self._relearned(model))["forget_probability"],
            "rounded": rounded["forget_probability"],
            "rounded_utility": rounded["utility"],
            "steps": 0,
            "passes": 0,
            "reached": False,
        }

    def evaluated(self, model: nn.Module) -> dict[str, float]:
        """TOFU's metrics without generation."""
        trainer = self._trainer(callbacks=[self._evaluation()])
        with quiet():
            trainer.validate(PretrainedModule(model), self._unlearning_data, verbose=False)
        return metrics_of(trainer)

    def _relearned(self, model: nn.Module) -> nn.Module:
        model = deepcopy(model)
        pl.seed_everything(self.seed, verbose=False)
        optimizer = partial(torch.optim.AdamW, lr=1e-3)
        with quiet():
            self._trainer(max_steps=RELEARNING_STEPS, limit_val_batches=0).fit(
                FineTuning(model, stream="forget", optimizer=optimizer, schedule=Constant()), self._unlearning_data
            )
        return model


@torch.no_grad()
def _rounded(model: nn.Module) -> nn.Module:
    model, rounding = deepcopy(model), IntegerRounding(bits=4)
    for stack in weight_matrices(model).values():
        for matrix in stack.matrices(stack.parameter):
            matrix.copy_(rounding.round(matrix.contiguous()))
    return model
