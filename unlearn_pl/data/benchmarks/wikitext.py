"""Articles of WikiText, put together from its lines."""

import re
from collections.abc import Iterator

from unlearn_pl.data.io.entries import Table, read_entries
from unlearn_pl.data.io.record import BadRowError

_TITLE = re.compile(r" ?= [^=].* = ?")


def wikitext_articles(table: Table) -> list[str]:
    """The articles of WikiText, each with its title.

    A title is a line ``= Title =`` between empty lines; deeper headings have more equals signs. The text is left as it
    is: spaces before commas and ``<unk>`` stay.

    Args:
        table: a file with the lines, or a dataset of the hub with a line a row.

    Raises:
        ValueError: if a line is not text, or there is no article.
    """
    lines = list(_lines(table))
    starts = [
        number
        for number, line in enumerate(lines)
        if _TITLE.fullmatch(line) and not any(near.strip() for near in (*lines[:number][-1:], *lines[number + 1 :][:1]))
    ]
    if not starts:
        raise ValueError(f"{table} has no article of WikiText: no line '= Title =' between empty lines.")
    bounds = zip(starts, [*starts[1:], len(lines)], strict=True)
    return ["\n".join(lines[start:stop]).strip() for start, stop in bounds]


def _lines(table: Table) -> Iterator[str]:
    for where, row in read_entries(table, one_per_line=False):
        if isinstance(row, BadRowError):
            raise ValueError(f"{where}: {row}.")
        text = row.get("text")
        if not isinstance(text, str):
            raise ValueError(f"{where}: the column 'text' has {text!r}; accepted is text.")
        yield from text.removesuffix("\n").split("\n")
