"""Where a step would wait for a GPU, counted on a CPU."""

import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

aten = torch.ops.aten
READS = {
    aten._local_scalar_dense.default,
    aten._unique2.default,
    aten.equal.default,
    aten.masked_select.default,
    aten.nonzero.default,
    aten.repeat_interleave.Tensor,
    aten.unique_consecutive.default,
    aten.unique_dim.default,
}
"""Operations of which the host needs the result, or its shape, before it goes on."""
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
"""Those that wait if an index is a mask."""
LIKE = {aten.empty_like.default, aten.full_like.default, aten.ones_like.default, aten.zeros_like.default}
"""Those that make a tensor where they are told to, which in this library is the CPU."""

OWN_FILES = (__file__, traceback.__file__, str(Path(torch.__file__).parent))
ROOT = Path(__file__).parents[1]


class DeviceWaits(TorchDispatchMode):
    """Counts the operations at which the host would wait, if certain tensors were on a GPU.

    Tensors given to :meth:`put` count as those of the device, and so does whatever is computed from them, until it is
    read: by ``cpu``, ``tolist``, ``item``, in a condition, or by an operation with a result of unknown shape. Copies
    with ``to("cpu")`` are not seen, for they are none on a CPU.

    Attributes:
        lines: line of source to how often it waits: the innermost one that is not PyTorch's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: Counter[str] = Counter()
        self._on_device: dict[int, StorageWeakRef] = {}

    def put(self, *tensors: Tensor) -> None:
        """From now on ``tensors`` are on the device."""
        for tensor in tensors:
            self._set(tensor, True)

    def holds(self, tensor: Tensor) -> bool:
        """Whether ``tensor`` is on the device."""
        kept = self._on_device.get(tensor.untyped_storage()._cdata)
        return kept is not None and not kept.expired()

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what happens inside."""
        with ExitStack() as stack:
            stack.enter_context(self)
            for name in ("cpu", "tolist"):
                stack.enter_context(patch.object(Tensor, name, self._reading(getattr(Tensor, name))))
            yield

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        on_device = any(self.holds(leaf) for leaf in tree_leaves((args, options)) if isinstance(leaf, Tensor))
        if on_device and (func in READS or (func in INDEXED and _has_mask(args[1]))):
            self._note()
        result = func(*args, **options)
        if func in LIKE and options.get("device") is not None:
            on_device = False
        for made in tree_leaves(result):
            if isinstance(made, Tensor):
                self._set(made, on_device)
        return result

    def _set(self, tensor: Tensor, on_device: bool) -> None:
        storage = tensor.untyped_storage()
        if on_device:
            self._on_device[storage._cdata] = StorageWeakRef(storage)
        else:
            self._on_device.pop(storage._cdata, None)

    def _note(self) -> None:
        self.lines[_line()] += 1

    def _reading(self, read: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
        def method(tensor: Tensor) -> Any:
            if not self.holds(tensor):
                return read(tensor)
            self._note()
            copy = tensor.detach().clone()
            self._set(copy, False)
            return read(copy)

        return method


class WaitsOfSteps(pl.Callback):
    """Counts the waits of every optimizer step, as if the model and the batches were on a GPU.

    The Trainer runs inside :func:`moving_batches`.

    Attributes:
        steps: line of source to how often it waits, for every step.
    """

    def __init__(self) -> None:
        self.steps: list[Counter[str]] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Begin to count."""
        waits = DeviceWaits()
        batched = (leaf for leaf in tree_leaves(batch) if isinstance(leaf, Tensor))
        states = tree_leaves([optimizer.state_dict()["state"] for optimizer in trainer.optimizers])
        moments = (leaf for leaf in states if isinstance(leaf, Tensor) and leaf.dim())  # Adam counts steps on the host
        waits.put(*pl_module.parameters(), *pl_module.buffers(), *batched, *moments)
        self._stack = ExitStack()
        self._stack.enter_context(waits.counting())
        self._waits = waits

    def on_train_batch_end(self, *args: object, **kwargs: object) -> None:
        """Keep what was counted."""
        self._stack.close()
        self.steps.append(self._waits.lines)


def moving_batches() -> Any:
    """Context in which Lightning copies batches, as it does when they go to a GPU."""
    return patch(
        "lightning.pytorch.core.hooks.move_data_to_device",
        lambda batch, device: tree_map_only(Tensor, Tensor.clone, batch),
    )


def _has_mask(indices: Sequence[Tensor | None]) -> bool:
    return any(index is not None and index.dtype == torch.bool for index in indices)


def _line() -> str:
    """File and number of the innermost line that is neither PyTorch's nor of this file."""
    frames = (frame for frame in reversed(traceback.extract_stack()) if not frame.filename.startswith(OWN_FILES))
    frame = next(frames)
    name = frame.filename.rpartition("site-packages/")[2].removeprefix(f"{ROOT}/")
    return f"{name}:{frame.lineno}"
