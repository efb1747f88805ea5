"""Duplicate rows, and overlap between the forget and retain sets."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unlearn_pl.data.overlap.minhash import SIMILAR, Signatures, signatures_of, similar_to, similar_to_earlier

_WORD = re.compile(r"\w+")


class Hashes(NamedTuple):
    """Hashes that identify equal and nearly equal texts among N: 176 bytes per text.

    Attributes:
        exact: ``[N]``, equal for equal texts.
        near: ``[N]``, equal for texts with the same words in the same order, whatever their case, punctuation and white
            space.
        signatures: ``[N, 80]``, similar for texts that have most pairs of neighboring words in common.
    """

    exact: npt.NDArray[np.int64]
    near: npt.NDArray[np.int64]
    signatures: Signatures


def hashes_of(texts: Iterable[str]) -> Hashes:
    """The hashes of ``texts``; see :class:`Hashes`."""
    exact, near = [], []

    def words_of_each() -> Iterator[list[str]]:  # the words take far more memory than the text
        for text in texts:
            words = _WORD.findall(text.casefold()) or [text]
            exact.append(_hash(text))
            near.append(_hash(" ".join(words)))
            yield words

    signatures = signatures_of(words_of_each())
    return Hashes(np.array(exact, dtype=np.int64), np.array(near, dtype=np.int64), signatures)


def duplicates_in(hashes: Hashes, name: str) -> str | None:
    """Warning text for rows of one stream that repeat an earlier one; None without duplicates.

    Args:
        hashes: of the stream's rows.
        name: its name.
    """
    exact, near = map(_repeated, hashes[:2])
    found = near | similar_to_earlier(hashes.signatures)
    if not found.any():
        return None
    return (
        f"{found.sum()} of the {len(found)} rows of {name} repeat an earlier one ({_split(exact, near, found)}); "
        "training sees them more often than the others."
    )


def overlap_of(forget: Hashes, retain: Hashes) -> str | None:
    """Warning text for retain rows that also occur in the forget set; None without overlap."""
    exact, near = (np.isin(ours, theirs) for ours, theirs in zip(retain[:2], forget[:2], strict=True))
    found = near | similar_to(retain.signatures, forget.signatures)
    if not found.any():
        return None
    return (
        f"{found.sum()} of the {len(found)} rows of retain are also in forget ({_split(exact, near, found)}): what "
        "they have in common is to be forgotten and retained at the same time."
    )


def _repeated(column: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which values occurred before."""
    repeated = np.ones(len(column), dtype=bool)
    repeated[np.unique(column, return_index=True)[1]] = False
    return repeated


def _split(exact: npt.NDArray[np.bool_], near: npt.NDArray[np.bool_], found: npt.NDArray[np.bool_]) -> str:
    return (
        f"{exact.sum()} of them exactly, {near.sum() - exact.sum()} up to case, punctuation and white space, "
        f"{(found & ~near).sum()} with about {SIMILAR:.0%} of the pairs of neighboring words or more in common"
    )


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
