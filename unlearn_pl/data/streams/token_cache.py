"""Token ids of documents: computed once, kept on disk as Arrow files, and mapped into memory."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from transformers import PreTrainedTokenizerBase

from unlearn_pl.data.io.arrow_files import check_arrow_stream
from unlearn_pl.data.overlap.hashes import Hashes, hashes_of
from unlearn_pl.data.overlap.minhash import NUM_HASHES
from unlearn_pl.data.text.template import tokens_of
from unlearn_pl.results.json_file import parse_json, write_sealed_json
from unlearn_pl.results.seal import unsealed

if TYPE_CHECKING:
    from datasets import Dataset

BATCH_CHARACTERS = 8_000_000
"""Characters held in memory at once (more for a longer document), and characters that justify another process."""
BATCH_DOCUMENTS = 1000
_NOTES = "notes.json"
_TEXTS = pa.schema([("text", pa.large_string())])
_TOKENS = pa.schema(
    [
        ("input_ids", pa.list_(pa.int32())),
        ("exact", pa.int64()),
        ("near", pa.int64()),
        ("signatures", pa.list_(pa.uint16(), NUM_HASHES)),
    ]
)
Batch = dict[str, list]
"""Column to values."""


class TokenCache:
    """The token ids of documents on disk, and the hashes that identify duplicates.

    Args:
        folder: a folder that :func:`write_tokens` has written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def __reduce__(self) -> tuple[type["TokenCache"], tuple[Path]]:
        return type(self), (self.folder,)  # worker processes map the files themselves

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Number of tokens of every document."""
        parts = [pc.list_value_length(part).to_numpy(zero_copy_only=False) for part in self._parts]
        return np.concatenate([np.zeros(0, np.int64), *parts]).astype(np.int64)

    @cached_property
    def hashes(self) -> Hashes:
        """The hashes of every document; see :func:`~unlearn_pl.data.overlap.hashes.hashes_of`."""
        parts = [part.flatten().to_numpy() for t in self._tables for part in t.data.column("signatures").chunks]
        signatures = np.concatenate([np.zeros(0, np.uint16), *parts]).reshape(-1, NUM_HASHES)
        return Hashes(self._column("exact"), self._column("near"), signatures)

    @property
    def notes(self) -> list[str]:
        """Notes about the documents, from when they were read."""
        notes = self._notes()
        return notes["notes"] if isinstance(notes, dict) else notes

    def check(self) -> None:
        """Compare the files with their digests, or, as earlier versions wrote none, see that Arrow can read them.

        Raises:
            ValueError: if a file was changed or lost after it was written.
        """
        if isinstance(notes := self._notes(), dict):
            if notes["files"] != _digests(self.folder):
                raise self._error("its files of tokens do not match their SHA-256")
            return
        for file in _files(self.folder):
            try:
                check_arrow_stream(file)
            except (OSError, ValueError) as error:
                raise self._error(error) from error

    def _notes(self) -> dict[str, Any] | list[str]:
        path = self.folder / _NOTES
        try:
            notes = parse_json(path.read_bytes())
            if isinstance(notes, dict):
                notes = unsealed(notes, str(path))
        except (ValueError, FileNotFoundError) as error:
            raise self._error(f"{_NOTES}: {error}") from error
        if isinstance(notes, dict) and notes.keys() == {"notes", "files"}:
            return notes
        # Earlier versions wrote the list alone.
        if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
            raise self._error(f"{_NOTES} was changed")
        return notes

    def _error(self, reason: object) -> ValueError:
        return ValueError(
            f"The cache of tokens {str(self.folder)!r} was changed after it was written, or is not complete "
            f"({reason}). Delete that folder, and it will be computed again."
        )

    def tokens(self, document: int, start: int, stop: int) -> list[int]:
        """Tokens ``start`` to ``stop`` of a document; only these are read from disk."""
        part = int(np.searchsorted(self._first, document, side="right")) - 1
        values = self._parts[part][document - int(self._first[part])].values
        return values[start:stop].to_pylist()

    @cached_property
    def _tables(self) -> list["Dataset"]:
        from datasets import Dataset

        try:
            return [Dataset.from_file(str(file)) for file in _files(self.folder)]
        except (OSError, KeyError, TypeError, pa.ArrowException) as error:
            raise self._error(error) from error

    @cached_property
    def _parts(self) -> list[pa.ListArray]:
        return [part for table in self._tables for part in table.data.column("input_ids").chunks if len(part)]

    def _column(self, name: str) -> npt.NDArray[np.int64]:
        return np.concatenate([np.zeros(0, np.int64), *(table.data.column(name).to_numpy() for table in self._tables)])

    @cached_property
    def _first(self) -> npt.NDArray[np.int64]:
        """Number of the first document of every part."""
        return np.cumsum([0, *map(len, self._parts)])[:-1]


def write_tokens(
    texts: Iterable[str],
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    eos: bool,
    num_proc: int,
    notes: Sequence[str] = (),
) -> None:
    """Tokenizes ``texts`` into ``folder``, which appears once it is complete.

    Args:
        texts: documents; read one after another, and never all in memory.
        tokenizer: a tokenizer; what it adds at the beginning of a text, such as a bos token, is kept.
        folder: folder to write.
        eos: whether every document ends with an end-of-sequence token, or none does.
        num_proc: most processes that work at the same time.
        notes: notes about the documents; read after all texts.

    Raises:
        ValueError: if ``eos`` is true and the tokenizer has no such token.
    """
    if eos and tokenizer.eos_token_id is None:
        raise ValueError("eos=True, but the tokenizer has no end-of-sequence token; set tokenizer.eos_token.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    try:
        raw = unfinished / "texts.arrow"
        characters = _write_batches(raw, _TEXTS, ({"text": batch} for batch in _batches(texts)))
        processes = min(num_proc, 1 + characters // BATCH_CHARACTERS)
        _tokenize_file(raw, unfinished / "tokens.arrow", tokenizer, eos, processes)
        raw.unlink()
        write_sealed_json(unfinished / _NOTES, {"notes": list(notes), "files": _digests(unfinished)})
        os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("tokens*.arrow"))


def _digests(folder: Path) -> dict[str, str]:
    """Name to SHA-256 of the files of tokens."""
    digests = {}
    for path in _files(folder):
        with path.open("rb") as file:
            digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of everything about ``tokenizer`` that determines the tokens of a text."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        state: object = [type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())]
    else:
        # Padding and truncation may be left over from earlier calls.
        state = json.loads(backend.to_str()) | {"padding": None, "truncation": None}
    return hashlib.sha256(json.dumps([state, tokenizer.eos_token_id], sort_keys=True).encode()).hexdigest()


def _tokenize_file(raw: Path, out: Path, tokenizer: PreTrainedTokenizerBase, eos: bool, processes: int) -> None:
    from datasets import Dataset, Features

    texts = Dataset.from_file(str(raw))
    if processes == 1:
        batches = (_tokenized(part.to_pylist(), tokenizer, eos) for part in texts.data.column("text").chunks)
        _write_batches(out, _TOKENS, batches)
        return
    texts.map(
        _tokenized,
        input_columns="text",
        batched=True,
        batch_size=32,  # a batch of books is some hundred megabytes while it is tokenized
        remove_columns="text",
        features=Features.from_arrow_schema(_TOKENS),
        fn_kwargs={"tokenizer": tokenizer, "eos": eos},
        num_proc=processes,
        cache_file_name=str(out),
        new_fingerprint=out.parent.name,  # hashing the tokenizer would give another one every time
        load_from_cache_file=False,
        desc="Tokenizing documents",
    )


def _tokenized(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, eos: bool) -> Batch:
    hashes = hashes_of(texts)
    end = [tokenizer.eos_token_id] if eos else []
    tokens = [np.array(tokens_of(tokenizer, text) + end, dtype=np.int32) for text in texts]
    return {"input_ids": tokens, **{name: list(column) for name, column in hashes._asdict().items()}}


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    characters = 0
    for text in texts:
        batch.append(text)
        characters += len(text)
        if len(batch) == BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _write_batches(path: Path, schema: pa.Schema, batches: Iterable[Batch]) -> int:
    """Writes a record batch for each of ``batches``; returns how many characters their texts have."""
    characters = 0
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for batch in batches:
            writer.write_batch(pa.record_batch(batch, schema=schema))
            characters += sum(map(len, batch.get("text", ())))
    return characters
