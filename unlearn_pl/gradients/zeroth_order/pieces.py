"""The trained elements of each parameter, on this rank, as flat memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from unlearn_pl.gradients.rows import local
from unlearn_pl.gradients.runtime import Runtime


@dataclass(frozen=True)
class Piece:
    """This rank's trained elements of one parameter.

    Attributes:
        name: name of the parameter.
        parameter: whole or sharded.
        kept: ``[n]`` int64, positions in the flat memory of the elements that the mask lets change; None for all.
    """

    name: str
    parameter: nn.Parameter
    kept: Tensor | None = None

    @property
    def weights(self) -> Tensor:
        """The parameter's flat memory ``[numel]`` on this rank."""
        return flat(local(self.parameter.detach()), self.name)

    @property
    def size(self) -> int:
        """Number of trained elements."""
        return local(self.parameter.detach()).numel() if self.kept is None else len(self.kept)

    @property
    def shard(self) -> str:
        """Which part of the parameter this rank holds; the same text on ranks that hold the same part."""
        if not isinstance(self.parameter, DTensor):
            return ""
        places = zip(self.parameter.device_mesh.get_coordinate() or (), self.parameter.placements, strict=False)
        return ".".join(str(place) for place, placement in places if placement.is_shard())

    def read(self) -> Tensor:
        """A copy ``[size]`` of the trained elements."""
        return self.weights.clone() if self.kept is None else self.weights[self.kept]

    def write(self, start: int, values: Tensor) -> None:
        """Set the trained elements from ``start`` on to ``values [n]``, rounded to the weights' dtype."""
        if self.kept is None:
            self.weights[start : start + len(values)].copy_(values)
        else:
            self.weights[self.kept[start : start + len(values)]] = values.to(self.parameter.dtype)


def pieces_of(runtime: Runtime) -> list[Piece]:
    """The trained elements of every parameter.

    Args:
        runtime: parameters, their names and the mask.
    """
    parameters, names = runtime.parameters, runtime.names
    row: list[Tensor | None] = [torch.ones_like(p.detach()) for p in parameters]
    runtime.mask(row)
    marks = [local(mark).ne(0) if mark is not None else None for mark in row]
    # One transfer for all parameters: a question per parameter would wait for the device as often.
    place = parameters[0].device
    answers = [torch.zeros((), device=place, dtype=torch.bool) if m is None else m.all().to(place) for m in marks]
    whole = torch.stack(answers).tolist()
    return [
        Piece(name, parameter, None if all_of_it else _positions(mark, name, parameter))
        for name, parameter, mark, all_of_it in zip(names, parameters, marks, whole, strict=True)
    ]


def _positions(mark: Tensor | None, name: str, parameter: nn.Parameter) -> Tensor:
    if mark is None:
        return torch.zeros(0, dtype=torch.int64, device=parameter.device)
    return flat(mark, name).nonzero().flatten()


def flat(tensor: Tensor, name: str) -> Tensor:
    """The elements ``[numel]`` of a tensor in the order of its memory, without a copy.

    Raises:
        ValueError: if the tensor is a view with gaps.
    """
    if tensor.is_contiguous():
        return tensor.view(-1)
    strides = sorted((stride, size) for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1)
    expected = 1
    for stride, size in strides:
        if stride != expected:
            raise ValueError(
                f"The parameter {name!r} of shape {list(tensor.shape)} is a view with the strides {tensor.stride()}, "
                "which leave gaps in its memory. Accepted by zeroth-order gradients: parameters without gaps, such as "
                "parameter.contiguous()."
            )
        expected *= size
    return torch.as_strided(tensor, (tensor.numel(),), (1,))


def dtype_of(parameters: Sequence[nn.Parameter]) -> torch.dtype:
    """The dtype in which shifted weights are computed: fp32 or better."""
    kinds = {p.dtype for p in parameters}
    return torch.float64 if torch.float64 in kinds else torch.float32
