"""A cache of a model's outputs on the scored tokens of many examples, in memory and as a file."""

import hashlib
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from unlearn_pl.host_copies import on_host
from unlearn_pl.references.context import TokenExample
from unlearn_pl.results.sealed_tensors import check_sealed, facts_of, open_sealed, write_sealed
from unlearn_pl.types import TokenBatch

_KIND = "a reference cache"
Key = tuple[int, int]
"""Index of an example, and a hash of its tokens and labels."""


class ReferenceCache:
    """A row of values per scored token, found by example.

    Args:
        keys: ``[E, 2]`` the keys of the examples.
        lengths: ``[E]`` number of scored tokens of each example.
        values: name to ``[M, ...]``, the rows of all examples one after the other.
    """

    def __init__(self, keys: Tensor, lengths: Tensor, values: Mapping[str, Tensor]) -> None:
        self.keys = keys
        self.lengths = lengths
        self.values = dict(values)
        ends = lengths.cumsum(0).tolist()
        starts = [0, *ends[:-1]]
        self._rows = {(key[0], key[1]): slice(*row) for key, *row in zip(keys.tolist(), starts, ends, strict=True)}

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    def rows(self, keys: Sequence[Key]) -> dict[str, Tensor]:
        """Name to the rows ``[M, ...]`` of the examples ``keys``, one after the other.

        Raises:
            KeyError: with the first missing key.
        """
        where = [self._rows[key] for key in keys]
        return {name: torch.cat([values[rows] for rows in where]) for name, values in self.values.items()}

    @classmethod
    def joined(cls, parts: Sequence["ReferenceCache"]) -> "ReferenceCache":
        """The examples of all ``parts``, which have the same values."""
        values = {name: torch.cat([part.values[name] for part in parts]) for name in parts[0].values}
        keys, lengths = (torch.cat([getattr(part, name) for part in parts]) for name in ("keys", "lengths"))
        return cls(keys, lengths, values)

    def write(self, path: Path, facts: Mapping[str, str]) -> None:
        """Write a file with a digest; readers find either the old one or the complete new one.

        Args:
            path: file to write; folders are created as needed.
            facts: what the cache was computed from.
        """
        write_sealed(path, {"keys": self.keys, "lengths": self.lengths, **self.values}, facts)

    @classmethod
    def read(cls, path: Path) -> tuple["ReferenceCache", dict[str, str]]:
        """The cache in a file, mapped into memory, and what it was computed from.

        Raises:
            ValueError: if the file does not exist, is not a reference cache, or was changed after it was written.
        """
        if not path.is_file():
            raise ValueError(f"There is no reference cache {str(path)!r}; all ranks must see the same folder.")
        check_sealed(path, _KIND)
        with open_sealed(path, _KIND) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            facts = facts_of(file)
        try:
            keys, lengths = tensors.pop("keys"), tensors.pop("lengths")
            _check_shapes(keys, lengths, tensors)
            return cls(keys, lengths, tensors), facts
        except (KeyError, ValueError) as error:
            raise ValueError(f"{str(path)!r} is not {_KIND} ({error}). Delete it.") from error


def _check_shapes(keys: Tensor, lengths: Tensor, values: Mapping[str, Tensor]) -> None:
    """Checks that what is read from a file is ``[E, 2]``, ``[E]`` and, for every value, ``[M, ...]``."""
    shapes = {"keys": list(keys.shape), "lengths": list(lengths.shape)}
    if lengths.dim() != 1 or shapes["keys"] != [len(lengths), 2] or keys.dtype != torch.int64:
        raise ValueError(f"its tensors have the shapes {shapes}; accepted are [E, 2], of integers, and [E]")
    total = int(lengths.sum())
    if short := [name for name, tensor in values.items() if tensor.dim() == 0 or len(tensor) != total]:
        raise ValueError(f"its examples have {total} tokens, and {', '.join(short)} has another number of rows")


def key_of(example: TokenExample) -> Key:
    """The key of an example."""
    return _key(example.index, example.input_ids, example.labels)


def keys_of(batch: TokenBatch) -> list[Key]:
    """The keys of the B examples of ``batch``, whatever their padding."""
    index, input_ids, labels, attended = (
        on_host(batch[name]) for name in ("index", "input_ids", "labels", "attention_mask")
    )
    columns = (index.tolist(), input_ids.tolist(), labels.tolist(), attended.sum(dim=-1).tolist())
    return [_key(index, ids[:n], labels[:n]) for index, ids, labels, n in zip(*columns, strict=True)]


def _key(index: int, input_ids: list[int], labels: list[int]) -> Key:
    digest = hashlib.sha256(array("q", [*input_ids, *labels]).tobytes()).digest()
    return index, int.from_bytes(digest[:8], "little", signed=True)
