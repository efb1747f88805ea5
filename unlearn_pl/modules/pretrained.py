"""Evaluate a model that somebody else made."""

from typing import Never

from unlearn_pl.modules.language import LanguageModule


class PretrainedModule(LanguageModule):
    """Any Hugging Face model, for ``validate``, ``test`` and ``predict`` only.

    Example:
        ``unlearn-pl test --model PretrainedModule --model.model my/model --data TOFUDataModule ...``
    """

    def training_step(self, *args: object) -> Never:
        """Refuse to train.

        Raises:
            ValueError: always; name a method's module instead.
        """
        raise ValueError("PretrainedModule only evaluates. Fit FineTuning, or a method such as MOLLM, instead.")

    def configure_optimizers(self) -> None:
        """Nothing is trained."""
