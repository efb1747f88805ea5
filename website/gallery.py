"""The gallery: every figure of a real run, with its caption and the study that it is from."""

import os
import re

from website.dialect import slug
from website.repository import ROOT, notebooks
from website.repository import pages as repository_pages

PATH = "docs/gallery.md"
FIGURE = re.compile(r"!\[(?P<caption>[^\]]+)\]\((?P<target>[^)]*figures/[^)]+\.png)\)")


def figures() -> dict[str, tuple[str, str]]:
    """Path of every figure to its caption, and to the page and section that show it."""
    found: dict[str, tuple[str, str]] = {}
    for page in sorted(repository_pages(), key=lambda page: page != "experiments/README.md"):
        section = ""
        for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
            if heading := re.fullmatch(r"##+ (.+)", line):
                section = f"#{slug(heading[1])}"
            for match in FIGURE.finditer(line):
                path = os.path.normpath(os.path.join(os.path.dirname(page), match["target"]))
                found.setdefault(path, (match["caption"], page + section))
    return found


def pages() -> dict[str, str]:
    """The page, by its path."""
    lines = ["# Gallery", "", "Figures of runs that were made for the studies; each links to the numbers behind it."]
    for path, (caption, place) in figures().items():
        stem = os.path.basename(path).removesuffix(".png").replace("_", " ").replace("smollm2", "SmolLM2")
        title = stem[0].upper() + stem[1:]
        lines += ["", f"## {title}", "", f"![{caption}](../{path})", "", f"*{caption}.* [Study](../{place})"]
    lines += ["", "## Notebooks", "", "Tours with figures:", ""]
    lines += [f"- [{title}](../{path})" for path, title in notebooks().items()]
    return {PATH: "\n".join(lines) + "\n"}
