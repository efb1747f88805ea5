"""The ways in which a model may be given."""

from torch import nn

from unlearn_pl.models.language.causal_lm import CausalLM
from unlearn_pl.models.language.live_model import LiveModel
from unlearn_pl.models.spec import ModelSpec

ModelLike = CausalLM | ModelSpec | str | nn.Module
"""A specification, the name or path of a Hugging Face language model, or a language model in memory."""


def spec_of(model: ModelLike) -> ModelSpec:
    """The specification of ``model``."""
    if isinstance(model, str):
        return CausalLM(model)
    return LiveModel(model) if isinstance(model, nn.Module) else model
