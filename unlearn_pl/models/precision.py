"""The dtype of a model's weights, and the one that a Trainer's precision implies."""

import torch
from torch import Tensor, nn

WEIGHTS_OF_PRECISION = {"bf16-true": torch.bfloat16, "16-true": torch.float16, "64-true": torch.float64}
"""Precision of a Trainer to the dtype of the weights, if that is not float32."""


def cast_parameters(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Cast the parameters of ``model`` to ``dtype`` in place, but not its buffers.

    ``model.to(dtype)`` would round buffers too, among them the frequencies of rotary embeddings, which
    ``from_pretrained`` keeps in float32 for every dtype of the weights.

    Args:
        model: any model, sharded by FSDP2 or not.
        dtype: a floating-point dtype.

    Returns:
        ``model``.
    """

    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if isinstance(tensor, nn.Parameter) else tensor

    return model._apply(cast)
