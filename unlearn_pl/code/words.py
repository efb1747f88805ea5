"""Names that a program does not use yet."""

import builtins
import keyword
import random
from collections.abc import Collection

WORDS = (
    *("data", "value", "item", "result", "total", "count", "index", "entry", "record", "key", "name", "text", "line"),
    *("token", "node", "left", "right", "first", "last", "size", "limit", "start", "stop", "offset", "width", "height"),
    *("color", "label", "group", "table", "row", "column", "cell", "field", "content", "message", "status", "state"),
    *(
        "mode",
        "option",
        "config",
        "source",
        "target",
        "output",
        "buffer",
        "cache",
        "queue",
        "stack",
        "number",
        "amount",
    ),
    *("price", "weight", "score", "rate", "level", "user", "client", "server", "path", "folder", "report", "summary"),
)
"""Common names, which a model has seen often."""

RESERVED = frozenset([*keyword.kwlist, *keyword.softkwlist, *dir(builtins)])


def fresh_words(taken: Collection[str]) -> list[str]:
    """The common names that are neither in ``taken`` nor reserved."""
    return [word for word in WORDS if word not in taken and word not in RESERVED]


def fresh_word(taken: Collection[str], rng: random.Random) -> str:
    """A name that is not in ``taken``: a common one, with a number where all are taken."""
    if free := fresh_words(taken):
        return rng.choice(free)
    word, number = rng.choice(WORDS), 2
    while f"{word}{number}" in taken:
        number += 1
    return f"{word}{number}"
