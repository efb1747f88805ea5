"""What the host keeps of a batch when it goes to the device."""

from collections.abc import Mapping

import lightning.pytorch as pl
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor

from unlearn_pl.host_copies import keep_host_copy
from unlearn_pl.modules.lightning_internals import attached_datamodule, attached_trainer

HOOKS = ("transfer_batch_to_device", "on_after_batch_transfer")
"""What may make another batch of it on its way."""


def keep_batch_on_host(module: pl.LightningModule, given: object, moved: object) -> None:
    """Keep the integers of ``given`` (tokens, labels, indices) as the copies on the host of those of ``moved``.

    Nothing is kept if the module, or its data module, has hooks of its own that may change a batch on its way.

    Args:
        module: what the batch is for.
        given: a batch on the CPU.
        moved: the same on the device.
    """
    trainer = attached_trainer(module)
    data = None if trainer is None else attached_datamodule(trainer)
    if not any(is_overridden(hook, part) for hook in HOOKS for part in (module, data)):
        _keep(given, moved)


def _keep(given: object, moved: object) -> None:
    if isinstance(given, Tensor) and isinstance(moved, Tensor):
        if moved is not given and given.device.type == "cpu" and not given.is_floating_point():
            keep_host_copy(moved, given)
    elif isinstance(given, Mapping) and isinstance(moved, Mapping):
        for name in given.keys() & moved.keys():
            _keep(given[name], moved[name])
    elif isinstance(given, list | tuple) and isinstance(moved, list | tuple):
        for one, other in zip(given, moved, strict=True):
            _keep(one, other)
