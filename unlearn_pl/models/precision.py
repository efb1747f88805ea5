"""The type of a model's weights."""

import torch
from torch import Tensor, nn


def cast_parameters(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Give the parameters of ``model`` the type ``dtype``, in place, and leave its buffers as they are.

    ``model.to(dtype)`` would round buffers too, among them the frequencies of rotary embeddings, which
    ``from_pretrained`` keeps in float32 for every type of weights.

    Args:
        model: any model, sharded by FSDP2 or not.
        dtype: a floating-point type.

    Returns:
        ``model``.
    """

    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if isinstance(tensor, nn.Parameter) else tensor

    return model._apply(cast)
