"""Weights that are not finite: NaN or infinite."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, distributed
from torch.distributed.tensor import DTensor

NAMED = 3
"""Tensors that a message names."""


def nonfinite(tensors: Mapping[str, Tensor], across_ranks: bool) -> list[str]:
    """Names of the tensors with a value that is NaN or infinite.

    One pass over the tensors, at most one small collective, one transfer to the CPU.

    Args:
        tensors: by name; of sharded ones, each rank looks at its shard.
        across_ranks: whether tensors of other ranks count as well; every rank must then call it, with the same names.
    """
    checked = {name: _local(tensor) for name, tensor in tensors.items() if tensor.is_floating_point()}
    if not checked:
        return []
    device = next((value.device for value in checked.values() if value.device.type != "cpu"), torch.device("cpu"))
    flags = torch.stack([_is_bad(value).to(device, torch.int32) for value in checked.values()])
    if across_ranks:
        distributed.all_reduce(flags, op=distributed.ReduceOp.MAX)
    return [name for name, flag in zip(checked, flags.tolist(), strict=True) if flag]


def check_finite_weights(weights: Mapping[str, Tensor], across_ranks: bool = False) -> None:
    """Check weights before they are exported.

    Args:
        weights: by name.
        across_ranks: see :func:`nonfinite`.

    Raises:
        ValueError: naming weights that are NaN or infinite.
    """
    if bad := nonfinite(weights, across_ranks):
        raise ValueError(
            f"The model is not exported, because it has weights that are NaN or infinite: {named(bad)}. Export an "
            "earlier checkpoint, or train again with a lower learning rate or another precision."
        )


def named(names: Sequence[str]) -> str:
    """The first of ``names``, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local().detach() if isinstance(tensor, DTensor) else tensor.detach()


def _is_bad(value: Tensor) -> Tensor:
    """``[]`` bool. The extremes are NaN if any element is; a norm of halves could overflow, and takes longer."""
    if not value.numel():
        return torch.tensor(False, device=value.device)
    low, high = (value if value.element_size() > 1 else value.float()).aminmax()
    return ~(low.isfinite() & high.isfinite())
