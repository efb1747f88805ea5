"""The check of what the record of a data module names: nothing in it is imported, called or built before it passes."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from unlearn_pl import models
from unlearn_pl.data.io.file_tokenizer import train_tokenizer_on
from unlearn_pl.recorded_paths import TRUSTED, Accepted, check_paths, find
from unlearn_pl.recording import Recorded

ACCEPTED = Accepted(
    components=(Recorded, PreTrainedTokenizerBase, Dataset),
    functions={
        "tokenizer": {"unlearn_pl.data.train_tokenizer_on": train_tokenizer_on},
        "model": {"unlearn_pl.models.tiny_llama": models.tiny_llama},
    },
)
"""What a record of a data module may name; the types of components' own arguments narrow it."""

_OF_LIGHTNING = {"checkpoint_path", "map_location", "hparams_file", "strict", "weights_only"}
"""Arguments of Lightning's ``load_from_checkpoint``, which a record has no say in."""


def check_data_record(record: object, given: Collection[str], cls: type, allow: Sequence[str] = ()) -> None:
    """Check every class, function and import path in the record of a data module, before anything is built from it.

    Args:
        record: what the checkpoint holds of the data module.
        given: names of arguments that are passed again, whose records are not used.
        cls: class that the data module is loaded as.
        allow: packages whose modules may be imported, and whose classes and functions may be used.

    Raises:
        ValueError: naming the argument and the path that does not fit it, and what is accepted; and for a record that
            is no mapping, or has arguments of Lightning's ``load_from_checkpoint``.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"The checkpoint's record of the data is a {type(record).__name__}; accepted: a mapping.")
    if foreign := sorted(_OF_LIGHTNING & {str(name) for name in record}):
        raise ValueError(f"The checkpoint's record of the data has {foreign}; accepted: arguments of {cls.__name__}.")
    used = {str(name): value for name, value in record.items() if name not in given}
    check_paths(used, ACCEPTED, allow, owner=_owner(used, cls))


def rebuilt(record: Mapping[str, Any], given: Collection[str], allow: Sequence[str] = ()) -> dict[str, Any]:
    """The arguments that are components or hold some, built from a record that :func:`check_data_record` has passed.

    Args:
        record: arguments by name, as plain data.
        given: names of arguments that are passed again.
        allow: as for the check.

    Returns:
        Empty for a record that Lightning hands to jsonargparse, which builds components itself.

    Raises:
        ValueError: for a component of another package of this library.
    """
    if "_instantiator" in record:
        return {}
    used = {str(name): value for name, value in record.items() if name not in given}
    built = {name: _built(value, (*TRUSTED, *allow)) for name, value in used.items()}
    return {name: value for name, value in built.items() if value != used[name]}


def _built(value: Any, importable: Sequence[str]) -> Any:
    if isinstance(value, list):
        return [_built(item, importable) for item in value]
    if not isinstance(value, Mapping):
        return value
    found = find(value["class_path"], importable) if isinstance(value.get("class_path"), str) else None
    if isinstance(found, type) and issubclass(found, Recorded):
        if found.__module__.startswith("unlearn_pl.") and not found.__module__.startswith("unlearn_pl.data."):
            raise ValueError(f"{value['class_path']!r} is no component of data. Accepted: those of unlearn_pl.data.")
        return found(**_built(value.get("init_args") or {}, importable))
    return {name: _built(item, importable) for name, item in value.items()}


def _owner(record: Mapping[str, Any], cls: type) -> type:
    """The class that is built: the one that the record names, if it is imported and a subclass of ``cls``."""
    path = record.get("_class_path")
    try:
        found = find(path) if isinstance(path, str) else None
    except ValueError:
        return cls
    return found if isinstance(found, type) and issubclass(found, cls) else cls
