"""Evaluation of any Hugging Face model."""

import lightning.pytorch as pl
from lightning.pytorch.trainer.states import TrainerFn

from unlearn_pl.modules.model_module import ModelModule


class PretrainedModule(ModelModule):
    """Any Hugging Face model, for ``validate``, ``test`` and ``predict`` only.

    Example:
        ``unlearn-pl test --model PretrainedModule --model.model my/model --data TOFUDataModule ...``
    """

    def configure_callbacks(self) -> list[pl.Callback]:
        """Check, in the first hook that Lightning calls, that the module is not trained.

        Raises:
            ValueError: in ``fit``; use a method's module instead.
        """
        if self.trainer.state.fn == TrainerFn.FITTING:
            raise ValueError("PretrainedModule only evaluates. Fit FineTuning, or a method such as MOLLM, instead.")
        return super().configure_callbacks()
