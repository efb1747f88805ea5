"""The ways in which a model may be given."""

import torch
from torch import nn

from unlearn_pl.models.language.causal_lm import CausalLM
from unlearn_pl.models.language.language_spec import LanguageSpec
from unlearn_pl.models.spec import ModelSpec


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


ModelLike = CausalLM | ModelSpec | str | nn.Module
"""A specification, the name or path of a Hugging Face language model, or a language model in memory."""


def spec_of(model: ModelLike) -> ModelSpec:
    """The specification of ``model``."""
    if isinstance(model, str):
        return CausalLM(model)
    return LiveModel(model) if isinstance(model, nn.Module) else model
