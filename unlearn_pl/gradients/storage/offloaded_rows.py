"""Gradient rows in host memory."""

import torch
from torch import Tensor

from unlearn_pl.gradients.rows import Row, local
from unlearn_pl.gradients.storage.row_storage import RowStorage


class OffloadedRows(RowStorage):
    """Keeps rows in pinned host memory, except for the last one: no further gradient copy on the GPU.

    Copies run on a CUDA stream of their own, concurrently with the next objective's forward and backward pass; the rows
    come back one parameter at a time. Without a GPU, rows are kept unchanged.
    """

    def __init__(self) -> None:
        self._stream: torch.cuda.Stream | None = None

    def keep(self, row: Row, *, last: bool) -> Row:
        """The row, on its way to the host."""
        gradients = [g for g in row if g is not None]
        if last or not gradients or not gradients[0].is_cuda:
            return row
        self._stream = self._stream or torch.cuda.Stream()
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            return [None if g is None else _to_host(local(g), self._stream) for g in row]

    def share(self, element_size: int, place: torch.device, world_size: int) -> float:
        """0 on a GPU."""
        return 0.0 if place.type == "cuda" else 1.0

    def wait(self) -> None:
        """Let the current stream wait for the copies."""
        if self._stream is not None:
            torch.cuda.current_stream().wait_stream(self._stream)


def _to_host(gradient: Tensor, stream: torch.cuda.Stream) -> Tensor:
    gradient.record_stream(stream)  # its memory must not be reused before the copy is done
    return torch.empty_like(gradient, device="cpu", pin_memory=True).copy_(gradient, non_blocking=True)
