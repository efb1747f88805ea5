"""The person or thing that a question is about, found by its capital letters."""

import re
from collections.abc import Sequence

from unlearn_pl.data import Row

BLANK = "___"
"""What stands in the place of a name."""

_PARTICLE = "(?:de|da|del|van|von|bin|ibn|al|el|la|le|of|the)"
_WORD = r"[A-Z][\w'\u2019-]*"
_NAME = re.compile(rf"{_WORD}\.?(?:\s+(?:{_PARTICLE}\s+)*{_WORD})*")
_POSSESSIVE = re.compile(r"['\u2019]s?$")
_FIRST_WORDS = frozenset({
    "a", "an", "and", "are", "as", "at", "because", "before", "by", "can", "could", "describe", "did", "do", "does",
    "during", "explain", "for", "from", "give", "had", "has", "have", "how", "i", "if", "in", "is", "it", "name", "of",
    "on", "please", "tell", "the", "to", "under", "was", "were", "what", "when", "where", "which", "who", "whom",
    "whose", "why", "will", "with", "would",
})  # fmt: skip
LEAST_WORDS = 3
"""Words that a statement must have beside the name, to say something."""


def entities(rows: Sequence[Row]) -> list[str | None]:
    """For every question, the name in it that most rows of the split have; the longest of several.

    A name is a sequence of words with a capital letter; a word that only begins the sentence is none.

    Args:
        rows: questions with answers.

    Returns:
        One name per row; None where a question has no name, or is a conversation.
    """
    texts = [f"{row['question']} {row['answer']}" for row in rows]

    def rank(name: str) -> tuple[int, int]:
        return sum(name in text for text in texts), len(name)

    return [max(_names(str(row["question"])), key=rank, default=None) if _is_plain(row) else None for row in rows]


def without_entity(text: str, entity: str) -> str:
    """``text`` with :data:`BLANK` in the place of the name, and of every longer word of it.

    Args:
        text: an answer.
        entity: the name.
    """
    found = re.sub(rf"{re.escape(entity)}(?!\w)", BLANK, text)
    for word in re.findall(r"[\w'\u2019-]+", entity):
        if len(word) > 2 and word[0].isupper():
            found = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", BLANK, found)
    return re.sub(rf"{BLANK}(?:\s+{BLANK})+", BLANK, found)


def statement(row: Row, entity: str) -> str | None:
    """The answer without the name; None if it says nothing else."""
    answer = row["answer"] if isinstance(row["answer"], str) else row["answer"][0]
    text = without_entity(answer, entity)
    words = [word for word in re.findall(r"\w+", text) if set(word) != {"_"}]
    return text if len(words) >= LEAST_WORDS else None


def _is_plain(row: Row) -> bool:
    return isinstance(row["question"], str)


def _names(question: str) -> list[str]:
    names = [found.group() for found in _NAME.finditer(question)]
    if names and question.startswith(names[0]):
        first, *others = names[0].split()
        if first.casefold() in _FIRST_WORDS:
            names[0] = " ".join(others)
    cleaned = [_POSSESSIVE.sub("", name).rstrip(".") for name in names]
    return [name for name in cleaned if len(name) > 1 and name[0].isupper()]
