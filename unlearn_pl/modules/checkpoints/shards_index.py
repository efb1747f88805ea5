"""Checks on a folder of shards that someone else may have written, before PyTorch reads it.

PyTorch unpickles the index of the shards, and every entry that is no tensor, without ``weights_only``.
"""

import io
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

from unlearn_pl.modules.checkpoints.folder import SHARDS_INDEX
from unlearn_pl.results.checkpoint_file import not_plain

_METADATA = "torch.distributed.checkpoint.metadata"
_FILES = "torch.distributed.checkpoint.filesystem"
_ALLOWED = {
    *(
        (_METADATA, name)
        for name in (
            "Metadata",
            "MetadataIndex",
            "StorageMeta",
            "TensorStorageMetadata",
            "BytesStorageMetadata",
            "ChunkStorageMetadata",
            "TensorProperties",
            "_MEM_FORMAT_ENCODING",
        )
    ),
    (_FILES, "_StorageInfo"),
    (_FILES, "_StoragePrefix"),
    ("torch.serialization", "_get_layout"),
    ("torch", "Size"),
    ("collections", "OrderedDict"),
    *((module, name) for module in ("pathlib", "pathlib._local") for name in ("PosixPath", "WindowsPath")),
}
"""What indexes are made of: plain records of names, sizes and places in files."""


class _IndexUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED or (module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name} is no part of an index")


def check_index(path: Path) -> None:
    """Check that reading a folder of shards runs nothing, and reads nothing outside of it.

    Args:
        path: the folder.

    Raises:
        ValueError: naming the file, and what it would run or read.
    """
    for file in {path / SHARDS_INDEX, *path.glob(f"*{SHARDS_INDEX}")}:
        _check_places(path, file, _index(file))


def _index(file: Path) -> Metadata:
    try:
        with file.open("rb") as stream:
            index = _IndexUnpickler(stream).load()
    except pickle.UnpicklingError as error:
        raise ValueError(not_plain(file, error)) from error
    except Exception as error:  # pickle raises a dozen types for damaged files
        raise _unreadable(f"file {str(file)!r}", error) from error
    parts = [getattr(index, name, None) for name in ("state_dict_metadata", "storage_data")]
    if not isinstance(index, Metadata) or not all(isinstance(part, Mapping) for part in parts):
        raise ValueError(f"The file {str(file)!r} of a checkpoint is no index of shards. Use another checkpoint.")
    return index


def _check_places(path: Path, file: Path, index: Metadata) -> None:
    root = path.resolve()
    for key, name, offset, length in _places(file, index):
        shard = path / name
        if "\0" in name:
            raise _unreadable(f"file {str(file)!r}", ValueError(f"the name {name!r} of a file"))
        if os.path.isabs(name) or not shard.resolve().is_relative_to(root):
            raise ValueError(
                f"{str(file)!r} places {key!r} in {name!r}, outside of the checkpoint's folder. The checkpoint was "
                "made to read other files, or has links in it: copy them into the folder, or use another checkpoint."
            )
        if not isinstance(index.state_dict_metadata.get(key), TensorStorageMetadata):
            _check_entry(shard, key, offset, length)


def _places(file: Path, index: Metadata) -> list[tuple[str, str, int, int]]:
    """Name of every entry, the file that it is in, its first byte and its length."""
    try:
        return [
            (str(key.fqn), str(place.relative_path), int(place.offset), int(place.length))
            for key, place in index.storage_data.items()
        ]
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise _unreadable(f"file {str(file)!r}", error) from error


def _unreadable(part: str, error: Exception) -> ValueError:
    return ValueError(
        f"The {part} of a checkpoint cannot be read ({type(error).__name__}: {error}): it was changed or torn. "
        "Use another checkpoint."
    )


def _check_entry(shard: Path, name: str, offset: int, length: int) -> None:
    """Read what is no tensor, such as a learning rate, as plain data, before PyTorch reads it as anything."""
    try:
        with shard.open("rb") as file:
            file.seek(offset)
            torch.load(io.BytesIO(file.read(length)), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(not_plain(f"{shard} ({name})", error)) from error
    except Exception as error:  # unpickling raises a dozen types for damaged files
        raise _unreadable(f"entry {name!r} in {str(shard)!r}", error) from error
