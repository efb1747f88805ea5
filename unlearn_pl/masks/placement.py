"""Placement of tensors beside weights: on the device of another tensor, sharded like it, and whole again."""

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def placed_like(whole: Tensor, like: Tensor) -> Tensor:
    """``whole`` on the device of ``like`` and sharded like it.

    Args:
        whole: ``[...]``, the unsharded tensor; the same on every rank, so that nothing is sent.
        like: ``[...]`` of the same shape: a parameter or its gradient.

    Returns:
        ``[...]`` of the same shape; this rank's part of it if ``like`` is sharded.
    """
    if isinstance(like, DTensor) and not isinstance(whole, DTensor):
        return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None).to(like.device)
    return whole.to(like.device)


def gathered(tensor: Tensor) -> Tensor:
    """``tensor``, whole: ``[...]`` of the same shape; collective if it is sharded."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def check_shape(name: str, mask: Tensor, parameter: Tensor) -> None:
    """Check that a mask has the shape of its parameter.

    Raises:
        ValueError: if the shapes differ; the message names both.
    """
    if mask.shape != parameter.shape:
        raise ValueError(f"the mask of {name!r} has shape {tuple(mask.shape)}, its parameter {tuple(parameter.shape)}")
