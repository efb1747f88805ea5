"""Loading of checkpoints whose record is not in today's terms."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.cli import instantiate_module

from unlearn_pl.results.checkpoint_file import check_file

ModuleType = TypeVar("ModuleType", bound=pl.LightningModule)


def load_with_record(
    cls: type[ModuleType],
    checkpoint_path: str | Path,
    record: Mapping[str, Any],
    *,
    map_location: Any = None,
    strict: bool | None = None,
    weights_only: bool | None = None,
    **kwargs: Any,
) -> ModuleType:
    """Lightning's ``load_from_checkpoint`` with another record than that in the file, which it always reads itself.

    Args:
        cls: class of the module, or a base class of it.
        checkpoint_path: a ``.ckpt`` file.
        record: hyperparameters that replace those in the file.
        map_location: see ``torch.load``.
        strict: whether the names of all weights must match; None for what the module says.
        weights_only: see ``torch.load``.
        kwargs: arguments that replace recorded ones.

    Raises:
        ValueError: if the module's class is not a subclass of ``cls`` that is already imported, and for a file that is
            torn or changed.
    """
    path = str(record.get("_class_path"))
    found = getattr(sys.modules.get(path.rpartition(".")[0]), path.rpartition(".")[2], None)
    if not (isinstance(found, type) and issubclass(found, cls)):
        raise ValueError(f"{checkpoint_path} was written by a {path}, which is no imported subclass of {cls.__name__}.")
    if map_location is None and not torch.cuda.is_available():
        map_location = "cpu"
    check_file(checkpoint_path)
    checkpoint = torch.load(checkpoint_path, map_location=map_location, weights_only=weights_only is not False)
    arguments = {name: value for name, value in record.items() if name != "_instantiator"}
    module = instantiate_module(cls, {**arguments, **kwargs})
    module.configure_model()
    module.on_load_checkpoint(checkpoint)
    weights = checkpoint["state_dict"]
    module.load_state_dict(weights, strict=module.strict_loading if strict is None else strict)
    devices = (weight.device for weight in weights.values() if isinstance(weight, torch.Tensor))
    return module.to(next(devices, torch.device("cpu")))
