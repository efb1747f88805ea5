"""The Markdown files of the repository as pages of the site, with the files that they show or link to."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = {
    "docs/index.md": "index.html",
    "docs/README.md": "docs/index.html",
    "README.md": "readme/index.html",
    "METHODS.md": "formulas/index.html",  # beside methods/, names must differ by more than capitals
    "CHANGELOG.md": "changelog/index.html",
    "CONTRIBUTING.md": "contributing/index.html",
    "SECURITY.md": "security/index.html",
    "experiments/README.md": "experiments/index.html",
    "benchmarks/README.md": "benchmarks/index.html",
    "benchmarks/RESULTS.md": "benchmarks/results/index.html",
}
"""Where pages go whose place does not follow from their name."""
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)[^)\s]*\)")


def pages() -> list[str]:
    """Paths of the Markdown files that are pages, relative to the root."""
    written = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
    return [*(page for page in PLACES if not page.startswith("docs/")), *written]


def place(page: str) -> str:
    """Where ``page`` goes, relative to the root of the site.

    Example:
        >>> place("docs/data.md"), place("docs/api/data.md"), place("docs/api/index.md")
        ('data/index.html', 'api/data/index.html', 'api/index.html')
    """
    if page in PLACES:
        return PLACES[page]
    name = page.removeprefix("docs/").removesuffix(".md")
    return f"{name}.html" if name.endswith("/index") else f"{name}/index.html"


def linked_files() -> list[str]:
    """Files that pages link to and that are no pages themselves, such as figures, and all notebooks."""
    found = {path for page in pages() for path in _targets(page)} | set(notebooks())
    return sorted(path for path in found if not path.endswith(".md"))


def notebooks() -> dict[str, str]:
    """Path of every notebook to its title."""
    found = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        found[path.relative_to(ROOT).as_posix()] = "".join(cells[0]["source"]).splitlines()[0].lstrip("# ")
    return found


def _targets(page: str) -> Iterator[str]:
    path = ROOT / page
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        found = (path.parent / target).resolve()
        if found.is_file() and found.is_relative_to(ROOT):
            yield found.relative_to(ROOT).as_posix()


def sections() -> dict[str, list[str]]:
    """Heading of a group of ``docs/README.md`` to its pages, in their order; every page is in one."""
    groups: dict[str, list[str]] = {}
    for line in (ROOT / "docs" / "README.md").read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"\*\*(.+)\*\*", line):
            groups[heading[1]] = []
        elif groups and line.startswith("- "):
            named = line.partition(": ")[0]  # a page that is mentioned after the colon has a line of its own
            groups[list(groups)[-1]] += [f"docs/{page}" for page in re.findall(r"\]\((\w+\.md)\)", named)]
    return groups
