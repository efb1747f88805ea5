"""Sizes of a language model that determine its memory."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a decoder: a number of equal layers between an embedding and an output head.

    Attributes:
        parameters: weights, trained or not.
        trained: trained weights.
        num_layers: decoder layers.
        hidden_size: width.
        intermediate_size: width of the feed-forward layers.
        attention_size: number of heads times head width.
        vocab_size: number of tokens.
    """

    parameters: int
    trained: int
    num_layers: int
    hidden_size: int
    intermediate_size: int
    attention_size: int
    vocab_size: int

    @classmethod
    def of(cls, model: nn.Module) -> "ModelShape | None":
        """The shape of a Hugging Face model, with adapters or sharded as well; None if its config has no sizes."""
        config = getattr(model, "config", None)
        config = config.get_text_config() if config is not None and hasattr(config, "get_text_config") else config
        names = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")
        sizes = [getattr(config, name, None) for name in names]
        if not all(isinstance(size, int) for size in sizes):
            return None
        layers, hidden, intermediate, heads, vocabulary = (int(size) for size in sizes if size is not None)
        head_dim = getattr(config, "head_dim", None) or hidden // heads
        weights = list(model.parameters())
        return cls(
            parameters=sum(p.numel() for p in weights),
            trained=sum(p.numel() for p in weights if p.requires_grad),
            num_layers=layers,
            hidden_size=hidden,
            intermediate_size=intermediate,
            attention_size=heads * head_dim,
            vocab_size=vocabulary,
        )

    @property
    def trains_all(self) -> bool:
        """False with adapters, or if a mask freezes most weights."""
        return 2 * self.trained > self.parameters

    @property
    def outside_layers(self) -> int:
        """Approximate number of weights of the embedding (and of an untied head)."""
        return self.vocab_size * self.hidden_size


def gradient_checkpointing_enabled(model: nn.Module) -> bool:
    """Whether the layers of ``model`` recompute their activations in the backward pass."""
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def weight_bytes(model: nn.Module) -> float:
    """Mean number of bytes per weight; packed 4-bit weights count per packed element."""
    weights = list(model.parameters())
    return sum(_bytes(p) for p in weights) / max(1, sum(p.numel() for p in weights))


def _bytes(parameter: torch.Tensor) -> int:
    return parameter.numel() * parameter.element_size()
