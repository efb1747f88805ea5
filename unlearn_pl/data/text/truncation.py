"""Shortening a question so that it fits, while the answer and the template stay whole."""

from bisect import bisect_left
from collections.abc import Callable


def without_beginning(question: str, fits: Callable[[str], bool]) -> str | None:
    """The longest end of ``question`` that fits.

    The end is kept because that is where a question stands that follows its context or examples.

    Args:
        question: what to shorten.
        fits: whether a question is short enough; short ones are, when longer ones are.

    Returns:
        The question without as few characters at its beginning as possible; None if not even the last one fits.
    """
    first = bisect_left(range(len(question)), True, key=lambda start: fits(question[start:]))
    return question[first:] or None
