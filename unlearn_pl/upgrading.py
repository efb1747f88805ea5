"""Records of earlier versions in today's terms: class paths that have moved, and arguments that were replaced.

A record is a configuration that a user has written, or the plain data of :mod:`unlearn_pl.recording`, as checkpoints,
results and resolved configurations hold it.
"""

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

_FULL_PATH = re.compile(r"(unlearn_pl\.[a-z_]+)\.(?:\w+\.)+(\w+)")
_REPLACED = ("gramian", "sketch_size", "row_storage", "accumulate_grad_batches")
"""Former arguments of training modules."""


def upgraded(record: Any) -> Any:
    """``record`` with today's class paths and arguments; equal to ``record`` if that holds nothing old.

    Args:
        record: nested dictionaries, lists and scalars: a configuration with ``class_path`` and ``init_args``, or the
            hyperparameters of a checkpoint with ``_class_path``.
    """
    match record:
        case str():
            return current_path(record)
        case list():
            return [upgraded(item) for item in record]
        case Mapping():
            tree = {key: upgraded(item) for key, item in record.items()}
            if isinstance(model := tree.get("model"), dict) and isinstance(arguments := model.get("init_args"), dict):
                tree["model"] = {**model, "init_args": _with_gradient(arguments)}
            return _with_gradient(tree) if "_class_path" in tree else tree
        case _:
            return record


def current_path(path: str) -> str:
    """Today's import path of what was at ``path``: the one under which its package exports it.

    ``unlearn_pl.<package>.<anything>.<Name>`` becomes ``unlearn_pl.<package>.<Name>``, wherever the files of the
    package are now. Other texts, and names that the package does not export, are returned as they are.

    Args:
        path: import path of a class or a function, or any other text.
    """
    full = _FULL_PATH.fullmatch(path)
    if full is None:
        return path
    package, name = full.groups()
    try:
        exported = getattr(import_module(package), "__all__", ())
    except ModuleNotFoundError:
        return path
    return f"{package}.{name}" if name in exported else path


def _with_gradient(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a training module, of which ``gradient`` alone says how gradients are obtained and kept."""
    if not arguments.keys() & set(_REPLACED):
        return arguments
    old = {name: arguments.get(name) for name in _REPLACED}
    if old["accumulate_grad_batches"] is not None:
        rank_zero_warn(
            f"accumulate_grad_batches={old['accumulate_grad_batches']} of the module is ignored: a batch is an "
            "optimizer step now, and micro_batch_size of the data module splits it."
        )
    kept = {name: value for name, value in arguments.items() if name not in _REPLACED}
    if old["gramian"] == "sketch":
        kept["gradient"] = _source("SketchedRows", size=old["sketch_size"])
    elif old["row_storage"] is not None and _is_first_order(arguments.get("gradient")):
        kept["gradient"] = _source("FirstOrder", rows=old["row_storage"])
    return kept


def _source(name: str, **arguments: object) -> dict[str, Any]:
    given = {name: value for name, value in arguments.items() if value is not None}
    return {"class_path": f"unlearn_pl.gradients.{name}", "init_args": given}


def _is_first_order(gradient: object) -> bool:
    """Whether it is the source that kept rows as ``row_storage`` said; with others, that could only be the default."""
    path = gradient.get("class_path") if isinstance(gradient, Mapping) else gradient
    return path is None or str(path).rpartition(".")[2] == "FirstOrder"
