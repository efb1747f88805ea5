"""The type of a model's weights, and which one a Trainer's precision asks for."""

import torch
from torch import Tensor, nn

WEIGHTS_OF_PRECISION = {"bf16-true": torch.bfloat16, "16-true": torch.float16, "64-true": torch.float64}
"""Precision of a Trainer to the type of the weights, where that is not float32."""


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
