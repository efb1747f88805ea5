"""What a reader is that mutated inputs are tried on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.mutations import TEXT, Mutation


@dataclass(frozen=True)
class Reader:
    """A reader of one kind of file.

    Attributes:
        write: writes a valid input into an empty folder.
        files: the files of the folder that are mutated, one at a time.
        read: reads the folder completely, as plain data that can be compared.
        sealed: whether the file has a digest: what is read equals what was written, or is an error.
        mutations: what happens to the bytes.
        same: whether what is read counts as what was written.
        inside: undoes and redoes a compression, so that half of the mutations are of the content.
    """

    write: Callable[[Path], None]
    files: tuple[str, ...]
    read: Callable[[Path], object]
    sealed: bool = False
    mutations: tuple[Mutation, ...] = TEXT
    same: Callable[[object, object], bool] = lambda read, written: read == written
    inside: tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]] | None = None


def file_reader(name: str, data: bytes, read: Callable[[Path], object], **options) -> Reader:  # type: ignore[no-untyped-def]
    """A reader of one file with this name and content."""
    return Reader(lambda folder: (folder / name).write_bytes(data) and None, (name,), read, **options)
