"""The Markdown documents of the repository, taken apart: fenced blocks, inline code, links, headings."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = (".", "docs", "benchmarks", "experiments")
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for folder in FOLDERS
    for path in sorted((ROOT / folder).glob("*.md"))
}
PAGES = [name for name in DOCUMENTS if name in ("README.md", "CONTRIBUTING.md") or name.startswith("docs/")]
"""Documents for users and contributors; the others list methods, changes and results."""

NOT_RUN = "<!-- not run"


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    language: str
    code: str
    run: bool

    @property
    def filename(self) -> str | None:
        """Named by the first line, `# my_losses.py`, when the block is a file."""
        named = re.match(r"# ([\w/]+\.(?:py|yaml))\n", self.code)
        return named[1] if named else None


def blocks(language: str, *documents: str) -> list[Block]:
    """The blocks of a language, in the order of the documents; of all pages by default."""
    found = (
        match
        for document in documents or PAGES
        for match in re.finditer(
            r"(<!--[^>]*-->\n)?^```(\w+)\n(.*?)^```$", DOCUMENTS[document], re.DOTALL | re.MULTILINE
        )
    )
    every = [Block(m[2], m[3], not (m[1] or "").startswith(NOT_RUN)) for m in found]
    return [block for block in every if block.language == language]


def continued(document: str) -> str | None:
    """The document whose names ``document`` uses, by its comment ``<!-- continues README.md -->``."""
    comment = re.search(r"^<!-- continues (\S+) -->$", DOCUMENTS[document], re.MULTILINE)
    return comment[1] if comment else None


def shell_lines(*documents: str) -> list[str]:
    """Every command of the bash blocks, without comments, continued lines joined."""
    code = "\n".join(block.code for block in blocks("bash", *documents)).replace("\\\n", " ")
    return list(dict.fromkeys(shlex.join(shlex.split(line, comments=True)) for line in code.splitlines() if line))


def prose(document: str) -> str:
    """The document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", DOCUMENTS[document], flags=re.DOTALL | re.MULTILINE)


def code_spans(document: str) -> Iterator[str]:
    """Inline code, in its order."""
    yield from re.findall(r"`([^`\n]+)`", prose(document))


def links(document: str) -> list[tuple[str, str]]:
    """``(path relative to the root, anchor)`` of every link inside the repository; both may be empty."""
    targets = re.findall(r"\]\((?!https?://)([^)\s]+)\)", prose(document))
    parts = [target.partition("#") for target in targets]
    folder = (ROOT / document).parent
    return [((folder / path).resolve().relative_to(ROOT).as_posix() if path else document, a) for path, _, a in parts]


def anchors(document: str) -> set[str]:
    """The anchors that GitHub gives the headings."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
