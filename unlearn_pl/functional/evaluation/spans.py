"""The part of an answer that answers its question, by rule, and whether another text repeats it."""

import re
from collections.abc import Collection

_WORD = re.compile(r"[^\W_]+(?:['\u2019.-][^\W_]+)*")
_FUNCTION_WORDS = (
    " a an and are as at be been but by for from had has have he her his in into is it its of on or she that the their "
    "they this to was were which who whose will with "
)


def core_span(question: str, answer: str) -> tuple[int, int]:
    """Where the core of an answer is: its longest run of words that neither the question has nor every sentence.

    Words of the question and function words (``the``, ``is``, ``of``) end a run. Of several longest ones, the last
    counts, since a sentence tends to end with what is new. An answer without such a word is its own core.

    Args:
        question: what is asked.
        answer: the correct answer.

    Returns:
        First character, and the one behind the last.

    Raises:
        ValueError: if the answer is empty.

    Example:
        >>> answer = "The mayor of Tarn is Oda Lind."
        >>> first, end = core_span("Who is the mayor of Tarn?", answer)
        >>> answer[first:end]
        'Oda Lind'
    """
    if not answer.strip():
        raise ValueError(f"The answer {answer!r} to {question[:60]!r} is empty, so it has no core.")
    asked = {match.group().casefold() for match in _WORD.finditer(question)}
    best: list[re.Match[str]] = []
    run: list[re.Match[str]] = []
    for word in _WORD.finditer(answer):
        run = [] if _says_nothing(word.group(), asked) else [*run, word]
        best = run if len(run) >= max(1, len(best)) else best
    if not best:
        first = len(answer) - len(answer.lstrip())
        return first, len(answer.rstrip())
    return best[0].start(), best[-1].end()


def find_span(answer: str, span: str) -> tuple[int, int]:
    """Where ``span`` is in ``answer``, at its first occurrence.

    Args:
        answer: the correct answer.
        span: a part of it, as it is written there.

    Returns:
        First character, and the one behind the last.

    Raises:
        ValueError: if it is empty, white space alone, no text, or not there.
    """
    first = answer.find(span) if isinstance(span, str) and span.strip() else -1
    if first < 0:
        raise ValueError(f"The span {span!r} is no part of the answer {answer!r}; accepted is a part as it is written.")
    return first, first + len(span)


def repeats_span(text: str, span: str) -> bool:
    """Whether ``text`` has the words of ``span`` one after the other; case and punctuation do not count.

    Args:
        text: a generated answer.
        span: what must not be in it.

    Example:
        >>> repeats_span("It was ODA lind!", "Oda Lind"), repeats_span("Lind, Oda", "Oda Lind")
        (True, False)
    """
    words, wanted = _words(text), _words(span)
    if not wanted:
        return span.strip() != "" and span.strip() in text
    return any(words[first : first + len(wanted)] == wanted for first in range(len(words) - len(wanted) + 1))


def _says_nothing(word: str, asked: Collection[str]) -> bool:
    return word.casefold() in asked or f" {word.casefold()} " in _FUNCTION_WORDS


def _words(text: str) -> list[str]:
    return [match.group().casefold() for match in re.finditer(r"[^\W_]+", text)]
