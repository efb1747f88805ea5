"""Trials of one reader on mutated inputs, counted by their outcome."""

import os
import random
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.reader import Reader
from unlearn_pl.models.language.names import ModelNotFoundError

EQUAL, OTHER, ERROR, SILENT, UNDOCUMENTED = "read equal", "read other", "documented error", "silent", "undocumented"
OUTCOMES = (EQUAL, OTHER, ERROR, SILENT, UNDOCUMENTED)
"""``read other`` is possible in formats without a digest alone; in sealed ones it is ``silent``."""


@dataclass
class Trials:
    """What became of the inputs.

    Attributes:
        counts: outcome to number of inputs.
        failures: a line for every silent, undocumented or slow input.
        slowest: seconds of the slowest input.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0


def trials(reader: Reader, folder: Path, count: int, seed: int = 0, seconds: float = 5.0) -> Trials:
    """Read ``count`` mutated inputs, one after the other.

    Args:
        reader: the reader and its valid input.
        folder: an empty folder that is used for the inputs.
        count: number of inputs.
        seed: seed of the mutations; input ``i`` depends on the seed and ``i`` alone.
        seconds: an input that takes longer counts as a failure.
    """
    reader.write(folder)
    written, found = reader.read(folder), Trials()
    originals = {name: (folder / name).read_bytes() for name in reader.files}
    for number in range(count):
        name, data, how = mutated(reader, originals, f"{seed} {number}")
        _replace(folder / name, data)
        start = time.perf_counter()
        outcome, why = _outcome(reader, folder, written)
        took = time.perf_counter() - start
        found.slowest = max(found.slowest, took)
        found.counts[outcome] += 1
        if outcome in (SILENT, UNDOCUMENTED) or took > seconds:
            found.failures.append(f"input {number} ({how} of {name}, {took:.1f} s): {outcome} {why}")
        _replace(folder / name, originals[name])
    return found


def mutated(reader: Reader, originals: dict[str, bytes], seed: str) -> tuple[str, bytes, str]:
    """The file that is changed, its new bytes, which differ from the old ones, and the name of the mutation."""
    choose = random.Random(seed)
    while True:
        name, mutation = choose.choice(reader.files), choose.choice(reader.mutations)
        data = originals[name]
        if reader.inside is not None and choose.random() < 0.5:
            undo, redo = reader.inside
            changed = redo(mutation(undo(data), choose))
        else:
            changed = mutation(data, choose)
        if changed != data:
            return name, changed, mutation.__name__


def _replace(path: Path, data: bytes) -> None:
    # Not in place: what was read before may still be mapped into memory.
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_bytes(data)
    os.replace(unfinished, path)


def _outcome(reader: Reader, folder: Path, written: object) -> tuple[str, str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = reader.read(folder)
    except Exception as error:
        # Documented are errors of this library, which name the file, not those of the parsers below it.
        if type(error) in (ValueError, ModelNotFoundError) and str(folder) in str(error):
            return ERROR, ""
        return UNDOCUMENTED, f"{type(error).__name__}: {str(error)[:300]}"
    if reader.same(read, written):
        return EQUAL, ""
    return (SILENT, str(read)[:300]) if reader.sealed else (OTHER, "")


@contextmanager
def memory_limit(size: int) -> Iterator[None]:
    """At most ``size`` more bytes of address space than now; more is a ``MemoryError`` in the reader."""
    import resource

    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
