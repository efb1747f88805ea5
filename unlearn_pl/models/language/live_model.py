"""A language model that is there already."""

import torch
from torch import nn

from unlearn_pl.models.language.language_spec import LanguageSpec


class LiveModel(LanguageSpec):
    """A language model in memory, such as a ``PreTrainedModel``.

    Args:
        model: is trained in place.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def build(self, precision_dtype: torch.dtype | None = None) -> nn.Module:
        """The model itself, as it is now."""
        return self.model
