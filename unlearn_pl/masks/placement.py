"""Where the elements of a mask live: on the device of a tensor, and sharded as it is."""

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def placed_like(whole: Tensor, like: Tensor) -> Tensor:
    """``whole`` on the device of ``like`` and, where that is sharded, this rank's part of it.

    Args:
        whole: of the unsharded shape; the same on every rank, so that nothing is sent.
        like: a parameter or its gradient.
    """
    if isinstance(like, DTensor) and not isinstance(whole, DTensor):
        return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None).to(like.device)
    return whole.to(like.device)


def check_shape(name: str, mask: Tensor, parameter: Tensor) -> None:
    """Refuse a mask of another shape than its parameter's.

    Raises:
        ValueError: naming both shapes.
    """
    if mask.shape != parameter.shape:
        raise ValueError(f"the mask of {name!r} has shape {tuple(mask.shape)}, its parameter {tuple(parameter.shape)}")
