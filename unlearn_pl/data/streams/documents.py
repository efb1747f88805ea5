"""Streams of plain texts."""

import hashlib
import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info

from unlearn_pl.data.evaluation.passage import Passage
from unlearn_pl.data.io.bad_rows import OnBadRow, check_on_bad_row, usable
from unlearn_pl.data.io.entries import Table, name_of, read_entries, table_fingerprint
from unlearn_pl.data.io.in_memory import kept
from unlearn_pl.data.io.record import text_of
from unlearn_pl.data.io.recorded_rows import with_described
from unlearn_pl.data.streams.chunks import ChunkDataset
from unlearn_pl.data.streams.source import Source
from unlearn_pl.data.streams.token_cache import TokenCache, tokenizer_fingerprint, write_tokens
from unlearn_pl.data.text.encoder import Encoder
from unlearn_pl.data.text.template import tokens_of
from unlearn_pl.recording import arguments_of

CACHE = "UNLEARN_PL_CACHE"
"""Environment variable with the folder of tokenized documents."""
_VERSION = 2
"""Version of the cache's contents; files of other versions are not used."""
_LONGEST_CHUNK = 2048
_EVALUATED = 100


class Documents(Source):
    """Plain texts, cut into chunks of tokens, all of which are scored.

    Each document is tokenized once, by several processes if there is much text, and kept in a folder of the cache that
    is named after the contents of the files and the tokenizer; a second run maps it into memory at once. The cache does
    not depend on how documents are cut. See :class:`~unlearn_pl.data.ChunkDataset` for which tokens are scored. The
    cache holds the texts, as tokens: delete it if they must not be kept.

    Args:
        path: a file (jsonl, json, csv, tsv, parquet, txt, md) or a folder of such files, a
            :class:`~unlearn_pl.data.HubDataset`, or rows or texts in memory.
        column: column that holds the text; files of plain text have only ``text``.
        chunk_length: most tokens of an example; None for the data module's ``max_length``, or 2048 without one.
        packed: whether all documents form one long text, so that all chunks but the last have the same length, and some
            hold the end of a document and the beginning of the next one.
        eos: whether every document ends with an end-of-sequence token.
        max_chunks: chunks that are kept of a document, from its beginning; None for all.
        one_per_line: whether every line of a text file is a document, or the whole file; None for lines of a single
            file, and whole files of a folder.
        encoding: encoding of text files.
        on_bad_row: ``error`` raises at a row that cannot be read or has no token to score, ``skip`` skips such rows and
            counts them in the log.
        cache_dir: folder of tokenized documents; None for the one named by ``UNLEARN_PL_CACHE``, or a folder in
            the cache of the ``datasets`` library.
        num_proc: most processes that tokenize; None for one per core.

    Raises:
        ValueError: if an argument is out of its range; when the texts are read, if there is none to train on.
    """

    def __init__(
        self,
        path: Table,
        column: str = "text",
        *,
        chunk_length: int | None = None,
        packed: bool = False,
        eos: bool = False,
        max_chunks: int | None = None,
        one_per_line: bool | None = None,
        encoding: str = "utf-8",
        on_bad_row: OnBadRow = "error",
        cache_dir: str | None = None,
        num_proc: int | None = None,
    ) -> None:
        for name, value, least in (
            ("chunk_length", chunk_length, 2),
            ("max_chunks", max_chunks, 1),
            ("num_proc", num_proc, 1),
        ):
            if value is not None and value < least:
                raise ValueError(f"{name}={value} must be at least {least}.")
        check_on_bad_row(on_bad_row)
        self.path = kept(path)
        self.column = column
        self.chunk_length = chunk_length
        self.packed = packed
        self.eos = eos
        self.max_chunks = max_chunks
        self.one_per_line = one_per_line
        self.encoding = encoding
        self.on_bad_row: OnBadRow = on_bad_row
        self.cache_dir = cache_dir
        self.num_proc = num_proc

    def recorded_arguments(self) -> dict[str, object]:
        """The arguments, with a description of rows in memory in their place."""
        return with_described(arguments_of(self), ("path",))

    def texts(self, notes: list[str] | None = None) -> Iterator[str]:
        """The documents, read one after another.

        Args:
            notes: gets a sentence about skipped rows, once all rows are read.
        """
        entries = read_entries(self.path, one_per_line=self.one_per_line, encoding=self.encoding)
        return usable(entries, lambda row: text_of(row, self.column), self.on_bad_row, str(self), notes)

    def prepare(self, name: str, encoder: Encoder) -> None:
        """Tokenizes the documents, unless the cache has them."""
        self._chunk_length(encoder)
        self._cached(encoder, self._identity(encoder))

    def dataset(self, name: str, encoder: Encoder, seed: int = 0) -> ChunkDataset:
        """The chunks of all documents."""
        length, identity = self._chunk_length(encoder), self._identity(encoder)
        tokens = self._cached(encoder, identity)
        chunks = ChunkDataset(tokens, length, packed=self.packed, max_chunks=self.max_chunks, identity=identity)
        size = f"{len(tokens)} documents, {tokens.lengths.sum()} tokens, {len(chunks)} chunks"
        unused = f"{chunks.unused_documents} of them have fewer than two tokens, so none is scored"
        if not len(chunks) or (chunks.unused_documents and self.on_bad_row == "error"):
            raise ValueError(f"{self}: {size}; {unused}. on_bad_row='skip' skips them if there are others.")
        for note in [*tokens.notes, size, *([unused] if chunks.unused_documents else [])]:
            rank_zero_info(f"stream {name!r}: {note}")
        return chunks

    def evaluation_rows(self, encoder: Encoder, limit: int | None) -> list[Passage]:
        """The first chunk of each of the first ``limit`` documents, or of the first 100."""
        length = self._chunk_length(encoder)
        texts = self.texts()
        if self.on_bad_row == "skip":
            texts = (text for text in texts if len(tokens_of(encoder.tokenizer, text)) > 1)
        return [Passage(text, length, whole=False) for text in islice(texts, limit or _EVALUATED)]

    def __str__(self) -> str:
        return f"Documents of {name_of(self.path)}"

    def _chunk_length(self, encoder: Encoder) -> int:
        longest = encoder.max_length
        if self.chunk_length is None:
            return min(_LONGEST_CHUNK, encoder.tokenizer.model_max_length) if longest is None else longest
        if longest is not None and self.chunk_length > longest:
            raise ValueError(f"chunk_length={self.chunk_length} is more than max_length={longest}.")
        return self.chunk_length

    def _identity(self, encoder: Encoder) -> str:
        """SHA-256 of the contents of the files, how they are read, and the tokenizer."""
        read = [self.column, self.eos, self.one_per_line, self.encoding, self.on_bad_row, _VERSION]
        state = [table_fingerprint(self.path), tokenizer_fingerprint(encoder.tokenizer), *read]
        return hashlib.sha256(json.dumps(state).encode()).hexdigest()

    def _cached(self, encoder: Encoder, identity: str) -> TokenCache:
        from filelock import FileLock

        folder = cache_folder(self.cache_dir) / identity[:32]
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                notes: list[str] = []
                processes = self.num_proc or _cores()
                texts = self.texts(notes)
                write_tokens(texts, encoder.tokenizer, folder, eos=self.eos, num_proc=processes, notes=notes)
        cache = TokenCache(folder)
        cache.check()
        return cache


def cache_folder(given: str | None) -> Path:
    """``given``, or the folder named by ``UNLEARN_PL_CACHE``, or one in the cache of the ``datasets`` library."""
    if given is not None:
        return Path(given)
    if CACHE in os.environ:
        return Path(os.environ[CACHE])
    import datasets

    return Path(datasets.config.HF_DATASETS_CACHE) / "unlearn_pl"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
