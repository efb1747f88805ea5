"""Equality of short answers, and the overlap of their words."""

import re
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NEITHER = re.compile(r"[^\w\s]|_")


def exact_match(answers: Sequence[str], generated: str) -> float:
    """1 if ``generated`` equals one of the correct answers up to case, punctuation, articles and spaces, else 0.

    Args:
        answers: correct answers, of which one suffices.
        generated: the text to score.

    Example:
        >>> exact_match(["The Salt Ledger", "salt ledgers"], "salt ledger!")
        1.0

    References:
        Rajpurkar et al., "SQuAD", arXiv 1606.05250 (the normal form).
    """
    return float(any(_words(answer) == _words(generated) for answer in answers))


def word_f1(answers: Sequence[str], generated: str) -> float:
    """The largest F-measure of the words (as a bag) that ``generated`` shares with one of the correct answers.

    Args:
        answers: correct answers, of which the nearest counts.
        generated: the text to score.

    Example:
        >>> word_f1(["Oda Lind"], "Oda B. Lind")
        0.8
    """
    return max((_f1(Counter(_words(answer)), Counter(_words(generated))) for answer in answers), default=0.0)


def _f1(first: Counter[str], second: Counter[str]) -> float:
    if not first or not second:
        return float(first == second)
    return 2 * (first & second).total() / (first.total() + second.total())


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", _NEITHER.sub("", text.lower())).split()
