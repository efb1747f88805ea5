"""Truncation of questions that are too long; the answer and the template stay whole."""

from bisect import bisect_left
from collections.abc import Callable


def without_beginning(question: str, fits: Callable[[str], bool]) -> str | None:
    """The longest end of ``question`` that fits.

    The end is kept because a question often follows its context or examples.

    Args:
        question: the question to shorten.
        fits: whether a question is short enough; if one is, so is every shorter one.

    Returns:
        The question without the fewest characters at its beginning; None if not even its last character fits.
    """
    first = bisect_left(range(len(question)), True, key=lambda start: fits(question[start:]))
    return question[first:] or None
