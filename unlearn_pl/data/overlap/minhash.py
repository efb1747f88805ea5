"""Near duplicates among texts, found without comparing all pairs of them."""

import zlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

SIMILAR = 0.8
"""Smallest Jaccard similarity of near duplicates: shared pairs of neighboring words among all pairs of both texts."""
NUM_HASHES = 80
_BAND = 4  # four 16-bit numbers make the 64-bit key of a band
_COMPARED = 4  # texts of a bucket that others are compared with: boilerplate makes very large buckets
_BLOCK = 100_000  # shingles that are hashed at once; a longer text is a block of its own
_ROWS = 16_384  # rows that are compared at once

Signatures = npt.NDArray[np.uint16]
"""``[N, 80]``, a row per text."""


def signatures_of(texts: Iterable[Sequence[str]]) -> Signatures:
    """MinHash signatures of the pairs of neighboring words of every text.

    The share of columns in which two rows agree estimates the Jaccard similarity J of the two sets of pairs, with
    a standard error of ``sqrt(J (1 - J) / 80)``, at most .056.

    Args:
        texts: the words of every text; at least one.

    References:
        Broder, "On the resemblance and containment of documents", 1997, section 4.
    """
    blocks = [_minima(block) for block in _blocks(map(_shingles, texts))]
    return np.concatenate([np.zeros((0, NUM_HASHES), np.uint16), *blocks])


def similar_to(these: Signatures, those: Signatures) -> npt.NDArray[np.bool_]:
    """Which of ``these`` texts are near duplicates of one of ``those``, ``[N]``.

    Two texts are compared if they agree in all four columns of one of 20 bands; texts whose similarity is the threshold
    do so with a probability of .9999. In a band, a text is compared with the first four texts that agree with it, so
    time and memory are proportional to the number of texts.
    """
    found = np.zeros(len(these), dtype=bool)
    for mine, theirs in zip(_keys(these), _keys(those), strict=True):
        order = np.argsort(theirs, kind="stable")
        first, last = (np.searchsorted(theirs[order], mine, side=side) for side in ("left", "right"))
        for candidate in range(_COMPARED):
            rows = np.flatnonzero(~found & (first + candidate < last))
            found[rows] |= _agree(these, rows, those, order[first[rows] + candidate])
    return found


def similar_to_earlier(these: Signatures) -> npt.NDArray[np.bool_]:
    """Which of ``these`` texts are near duplicates of an earlier one, ``[N]``; see :func:`similar_to`."""
    found = np.zeros(len(these), dtype=bool)
    for mine in _keys(these):
        order = np.argsort(mine, kind="stable")
        first = np.searchsorted(mine[order], mine, side="left")
        position = np.empty_like(order)
        position[order] = np.arange(len(order))
        for candidate in range(_COMPARED):
            rows = np.flatnonzero(~found & (first + candidate < position))
            found[rows] |= _agree(these, rows, these, order[first[rows] + candidate])
    return found


def _agree(
    these: Signatures, rows: npt.NDArray[np.intp], those: Signatures, others: npt.NDArray[np.intp]
) -> npt.NDArray[np.bool_]:
    parts = [slice(start, start + _ROWS) for start in range(0, len(rows), _ROWS)]
    agreements = [(these[rows[part]] == those[others[part]]).mean(axis=1) for part in parts]
    return np.concatenate([np.zeros(0), *agreements]) >= SIMILAR


def _keys(signatures: Signatures) -> Iterator[npt.NDArray[np.uint64]]:
    """Bucket of every text, band by band."""
    yield from np.ascontiguousarray(signatures).view(np.uint64).reshape(-1, NUM_HASHES // _BAND).T


def _shingles(words: Sequence[str]) -> npt.NDArray[np.uint64]:
    """A number per pair of neighboring words; that of the word if there is only one."""
    codes = np.fromiter(map(zlib.crc32, map(str.encode, words)), np.uint64, len(words))
    return _mixed(codes if len(codes) < 2 else (codes[:-1] << np.uint64(32)) | codes[1:])


def _blocks(texts: Iterable[npt.NDArray[np.uint64]]) -> Iterator[list[npt.NDArray[np.uint64]]]:
    block: list[npt.NDArray[np.uint64]] = []
    size = 0
    for shingles in texts:
        if block and size + len(shingles) > _BLOCK:
            yield block
            block, size = [], 0
        block.append(shingles)
        size += len(shingles)
    if block:
        yield block


def _minima(texts: Sequence[npt.NDArray[np.uint64]]) -> Signatures:
    """The smallest of each text's numbers under 80 random hash functions, 16 bits of each."""
    shingles = np.concatenate(texts)
    starts = np.cumsum([0, *map(len, texts)])[:-1]
    factors, shifts = _mixed(np.arange(1, 2 * NUM_HASHES + 1, dtype=np.uint64)).reshape(2, -1)
    columns = [
        np.minimum.reduceat((shingles * (factor | np.uint64(1)) + shift) >> np.uint64(32), starts)
        for factor, shift in zip(factors, shifts, strict=True)
    ]
    return np.stack(columns, axis=1).astype(np.uint16)


def _mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finalizer of SplitMix64: a fixed permutation in which every bit depends on every other."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
