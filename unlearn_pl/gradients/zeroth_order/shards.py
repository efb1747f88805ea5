"""Numbers of trained elements over all shards of a parameter, and where this rank holds them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from unlearn_pl.gradients.rows import local, shard_of
from unlearn_pl.gradients.zeroth_order.pieces import Piece, flat


def agreed(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces, with positions on every rank where any rank's shard of the parameter is masked.

    So all ranks take part in the collectives of :func:`size_of` and :func:`places`.

    Args:
        pieces: this rank's trained elements.
    """
    if not any(_sharded(piece) for piece in pieces):
        return list(pieces)
    masked = torch.tensor([float(piece.kept is not None) for piece in pieces], device=pieces[0].parameter.device)
    torch.distributed.all_reduce(masked)
    return [
        replace(piece, kept=torch.arange(piece.size, device=piece.parameter.device))
        if count and _sharded(piece) and piece.kept is None
        else piece
        for piece, count in zip(pieces, masked.tolist(), strict=True)
    ]


def size_of(piece: Piece) -> int:
    """Number of trained elements of the parameter."""
    if not _sharded(piece):
        return piece.size
    return piece.parameter.numel() if piece.kept is None else len(_kept_anywhere(piece))


def places(piece: Piece, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Where this rank holds trained elements.

    Args:
        piece: this rank's trained elements of a parameter.
        numbers: ``[n]`` int64, numbers of trained elements of the whole parameter.

    Returns:
        Positions ``[m]`` in this rank's flat memory, and ``[m]``, which of the n elements they are.
    """
    parameter = piece.parameter
    numbers = numbers.to(parameter.device)
    if not isinstance(parameter, DTensor):
        return numbers if piece.kept is None else piece.kept[numbers], torch.arange(len(numbers), device=numbers.device)
    elements = numbers if piece.kept is None else _kept_anywhere(piece)[numbers]
    marks = torch.full([parameter.numel()], -1, dtype=torch.int64, device=parameter.device)
    marks[elements] = torch.arange(len(numbers), device=parameter.device)
    whole = marks.view(parameter.shape)
    placed = distribute_tensor(whole, parameter.device_mesh, parameter.placements, src_data_rank=None)
    own = flat(local(placed), piece.name)
    found = (own >= 0).nonzero().flatten()
    return found, own[found]


def _sharded(piece: Piece) -> bool:
    return isinstance(piece.parameter, DTensor)


def _kept_anywhere(piece: Piece) -> Tensor:
    """Positions in the whole parameter of the elements that the mask lets change."""
    own = torch.zeros_like(local(piece.parameter.detach()), dtype=torch.bool)
    flat(own, piece.name)[piece.kept] = True
    return cast(DTensor, shard_of(piece.parameter, own)).full_tensor().view(-1).nonzero().flatten()
