"""Documents cut into chunks of tokens."""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from unlearn_pl.data.overlap.hashes import Hashes
from unlearn_pl.data.sampling import Draw
from unlearn_pl.data.streams.datasets import TrainingDataset
from unlearn_pl.data.streams.token_cache import TokenCache
from unlearn_pl.data.text.template import Example


class ChunkDataset(TrainingDataset):
    """Documents in chunks of at most ``length`` tokens, each beginning with the last token of the previous one.

    So every token of a document is scored exactly once, with a context of at most ``length - 1`` tokens, except for the
    very first, which has none. Of a document of n tokens, chunk ``i`` holds the tokens from ``i (length - 1)`` to
    ``min(n, i (length - 1) + length)``, without scoring the first of them, and there are
    ``ceil((n - 1) / (length - 1))`` chunks, none of them empty. Documents of fewer than two tokens have no chunk.

    Args:
        tokens: the documents.
        length: most tokens of a chunk, at least 2.
        packed: whether all documents form one long text, in which a chunk may hold the end of a document and the
            beginning of the next one.
        max_chunks: chunks that are kept of each document (if ``packed``, of the long text), from its beginning; None
            for all.
        identity: text that identifies documents and tokenizer, for the fingerprint.
    """

    def __init__(
        self, tokens: TokenCache, length: int, *, packed: bool = False, max_chunks: int | None = None, identity: str
    ) -> None:
        self._tokens = tokens
        self._stride = length - 1
        self._ends = np.cumsum(tokens.lengths)
        # A text is what is cut: a document, or all of them together if they are packed.
        total = int(self._ends[-1]) if len(tokens) else 0
        self._packed = packed
        self._lengths = np.array([total]) if packed else tokens.lengths
        counts = np.maximum(0, -(-(self._lengths - 1) // self._stride))
        self._last_chunk = np.cumsum(counts if max_chunks is None else np.minimum(counts, max_chunks))
        self.longest_sequence = int(min(length, self._lengths.max(initial=0)))
        self._identity = f"{identity}/{length}/{packed}/{max_chunks}"

    def __len__(self) -> int:
        return int(self._last_chunk[-1]) if len(self._last_chunk) else 0

    @property
    def unused_documents(self) -> int:
        """Number of documents of fewer than two tokens, in which none is scored."""
        return 0 if self._packed else int((self._lengths < 2).sum())

    def __getitem__(self, draw: Draw | int) -> Example:
        index = draw.example if isinstance(draw, Draw) else draw
        if not 0 <= index < len(self):
            raise IndexError(index)
        text = int(np.searchsorted(self._last_chunk, index, side="right"))
        chunk = index - (int(self._last_chunk[text - 1]) if text else 0)
        start = chunk * self._stride
        stop = min(start + self._stride + 1, int(self._lengths[text]))
        ids = self._across(start, stop) if self._packed else self._tokens.tokens(text, start, stop)
        return Example(ids, prompt_length=1, index=index)

    def shown(self, draws: Iterable[Draw] | None = None) -> list[Example]:
        """The chunks that ``draws`` select, each once, in the order of the documents.

        Args:
            draws: None for every chunk.
        """
        indices = range(len(self)) if draws is None else sorted({draw.example for draw in draws})
        return [self[index] for index in indices]

    def fingerprint(self) -> str:
        """SHA-256 of the identity of documents and tokenizer, and of how chunks are cut."""
        return hashlib.sha256(self._identity.encode()).hexdigest()

    def hashes(self) -> Hashes:
        """The hashes of every document."""
        return self._tokens.hashes

    def examples_of(self, rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which chunks have a token of the marked documents, ``[N]``.

        Args:
            rows: ``[R]``, a mark per document.
        """
        chunks = np.arange(len(self))
        if not self._packed:
            return rows[np.searchsorted(self._last_chunk, chunks, side="right")]
        start = chunks * self._stride
        stop = np.minimum(start + self._stride + 1, self._lengths.sum())
        first, last = (np.searchsorted(self._ends, token, side="right") for token in (start, stop - 1))
        marked_before = np.concatenate([[0], np.cumsum(rows)])
        return marked_before[last + 1] > marked_before[first]

    def rows_of(self, examples: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which documents have a token in the marked chunks, ``[R]``.

        Args:
            examples: ``[N]``, a mark per chunk.
        """
        chunks = np.flatnonzero(examples)
        rows = np.zeros(len(self._tokens), dtype=bool)
        if not self._packed:
            rows[np.searchsorted(self._last_chunk, chunks, side="right")] = True
            return rows
        for start in chunks * self._stride:
            stop = min(start + self._stride + 1, self._lengths.sum())
            first, last = np.searchsorted(self._ends, [start, stop - 1], side="right")
            rows[first : last + 1] = True
        return rows & (self._tokens.lengths > 0)

    def _across(self, start: int, stop: int) -> list[int]:
        """Tokens ``start`` to ``stop`` of all documents, one after another."""
        ids: list[int] = []
        document = int(np.searchsorted(self._ends, start, side="right"))
        while start < stop:
            first = int(self._ends[document] - self._tokens.lengths[document])
            end = min(stop, int(self._ends[document]))
            ids += self._tokens.tokens(document, start - first, end - first)
            start, document = end, document + 1
        return ids
