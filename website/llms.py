"""``llms.txt`` and ``llms-full.txt``: the pages as a list and as one text, for language models."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten

from website.dialect import FENCE


@dataclass(frozen=True)
class Entry:
    """A page of the site.

    Attributes:
        section: heading of the navigation that it is under.
        title: of the page.
        url: its address, relative to the site if that has none.
        markdown: its text; empty for pages of the API, whose text is in the docstrings.
    """

    section: str
    title: str
    url: str
    markdown: str


def listing(name: str, summary: str, entries: Sequence[Entry]) -> str:
    """The text of ``llms.txt``, in the form of llmstxt.org: a title, a summary, and links by section."""
    lines = [f"# {name}", "", f"> {summary}"]
    for section in dict.fromkeys(entry.section for entry in entries):
        lines += ["", f"## {section}", ""]
        for entry in (entry for entry in entries if entry.section == section):
            said = first_sentence(entry.markdown)
            lines.append(f"- [{entry.title}]({entry.url})" + (f": {said}" if said else ""))
    return "\n".join(lines) + "\n"


def full(entries: Sequence[Entry]) -> str:
    """The text of ``llms-full.txt``: every page with a text, after its address."""
    return "\n".join(f"<!-- {entry.url} -->\n\n{entry.markdown.strip()}\n" for entry in entries if entry.markdown)


def first_sentence(markdown: str) -> str:
    r"""The beginning of the first paragraph of prose, without links and labels.

    Example:
        >>> first_sentence("# Title\n\n```bash\nrun it\n```\n\n[A model](a.md) forgets. It keeps the rest.")
        'A model forgets.'
    """
    blocks = [
        block
        for block in re.split(r"\n\s*\n", FENCE.sub("", markdown))
        if re.match(r"[\w`*\[]", block) and len(block) > 20
    ]
    if not blocks:
        return ""
    text = re.sub(r"\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])", r"\1", " ".join(blocks[0].split()))
    return shorten(re.split(r"(?<=[.:!?]) ", text)[0], 200, placeholder=" ...")
