"""The tables of METHODS.md and of the studies, row by row."""

import re
from functools import cache

from website.repository import ROOT

CELL = re.compile(r"(?<!\\)\|")
PAPER = re.compile(r"(?<![\d/.])(\d{4}\.\d{5})")
STATUSES = {
    "faithful": "The paper's formula, or the authors' code where the two differ.",
    "simplified": "Part of the paper is omitted.",
    "our reading": "Neither a complete formula nor code was available, or the rule is an adaptation.",
    "-": "There is no paper.",
}
"""Every status of METHODS.md, and what it means."""

Row = dict[str, str]


@cache
def sections(document: str = "METHODS.md") -> dict[str, str]:
    """Heading of every section of the second level to its text."""
    text = (ROOT / document).read_text(encoding="utf-8")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], map(str.strip, parts[2::2]), strict=True))


@cache
def tables(document: str = "METHODS.md") -> dict[str, list[Row]]:
    """Heading of a section to the rows of its first table, as column to cell; sections without a table are left out."""
    found = {heading: rows(text) for heading, text in sections(document).items()}
    return {heading: table for heading, table in found.items() if table}


def rows(text: str) -> list[Row]:
    r"""The first table of ``text``, as column to cell.

    Example:
        >>> rows("| a | b |\n|---|---|\n| 1 | 2 |")
        [{'a': '1', 'b': '2'}]
    """
    block = re.search(r"^\|.*\|\n\|[-| ]+\|\n((?:\|.*\|\n?)*)", text, re.MULTILINE)
    if block is None:
        return []
    header, _, *body = [[cell.strip() for cell in CELL.split(line)[1:-1]] for line in block[0].splitlines()]
    return [dict(zip(header, cells, strict=True)) for cells in body]


def introduction(heading: str) -> str:
    """What METHODS.md says above the table of a section."""
    return sections()[heading].partition("\n|")[0] if "|" in sections()[heading] else ""


def classes_in(cell: str) -> list[str]:
    """Names in code, in their order."""
    return re.findall(r"`(\w+)`", cell)


def badge(status: str) -> str:
    """The label of a status, in words and color."""
    name = "no paper" if status == "-" else status
    return f'<span class="badge {name.replace(" ", "-")}" title="{STATUSES[status]}">{name}</span>'


def with_papers(text: str) -> str:
    """``text`` whose numbers of papers are links to arXiv."""
    return PAPER.sub(r"[\1](https://arxiv.org/abs/\1)", text)
