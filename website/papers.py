"""The index of papers: what of each is in the library, and the commands of its tables."""

import re
from collections.abc import Iterator

from unlearn_pl.commands.recipes import PAPERS, comment, recipes
from website import catalog, exports, methods

PATH = "docs/papers.md"
NUMBER = re.compile(r"\d{4}\.\d{5}")


def implemented() -> dict[str, tuple[str, list[str]]]:
    """Number of a paper to its authors and title as METHODS.md has them, and the classes of its rows."""
    found: dict[str, tuple[str, list[str]]] = {}
    for row in (row for table in catalog.tables().values() for row in table if "paper" in row):
        names = catalog.classes_in(row.get("class", "")) or [row["name"]]
        for part in row["paper"].split(";"):
            for number in NUMBER.findall(part):
                cited = re.sub(r",? *(arXiv )?\d{4}\.\d{5}( and)?", "", part).strip()
                known, classes = found.get(number, ("", []))
                found[number] = (max(known, cited, key=len), list(dict.fromkeys([*classes, *names])))
    return found


def of_recipes() -> dict[str, list[str]]:
    """Number of a paper to the names of its recipes."""
    found: dict[str, list[str]] = {}
    for name in recipes():
        if name.startswith(f"{PAPERS}/"):
            found.setdefault(name.split("/")[1], []).append(name)
    return found


def published(recipe: str) -> str:
    """The published numbers that a recipe names."""
    text = " ".join(comment(recipes()[recipe]).split())
    match = re.search(r"Published: (.*?)(?= Put together of | The numbers are |$)", text)
    return match[1].rstrip(".").partition("; add them here")[0] if match else "-"


def pages() -> dict[str, str]:
    """The page, by its path."""
    lines = [
        "# Paper index",
        "",
        "From a paper to the command. The recipes have the settings of the paper's main tables; none was run by us, "
        "for they need the papers' models of 1 to 7 billion weights. `unlearn-pl recipes --paper 2410.07163` prints "
        "those of a paper, with what differs from it.",
        "",
        "## Tables with a recipe",
    ]
    known = implemented()
    for number, names in of_recipes().items():
        title = known.get(number, ("", []))[0]
        lines += ["", f"### {_heading(number, names[0])}", ""]
        lines += [f"{title + ', ' if title else ''}[arXiv {number}](https://arxiv.org/abs/{number}).", ""]
        lines += ["| command | published |", "|---|---|"]
        lines += [f"| `unlearn-pl fit -c {name}` | {published(name)} |" for name in names]
    lines += ["", "## All papers", "", "| paper | here | recipes |", "|---|---|---|"]
    for number, (title, names) in sorted(known.items()):
        shown = ", ".join(_linked(names))
        has = "yes" if number in of_recipes() else "-"
        lines.append(f"| {title or 'arXiv'}, [{number}](https://arxiv.org/abs/{number}) | {shown} | {has} |")
    return {PATH: "\n".join(lines) + "\n"}


def _heading(number: str, recipe: str) -> str:
    return comment(recipes()[recipe]).splitlines()[0].partition(":")[0].partition(" on ")[0].rstrip(".") or number


def _linked(names: list[str]) -> Iterator[str]:
    presets = {catalog.classes_in(row["class"])[0] for row in catalog.tables()["Methods"]}
    targets = exports.targets()
    for name in names:
        if name in presets:
            yield f"[`{name}`]({methods.path_of(name).removeprefix('docs/')})"
        elif name in targets:
            yield f"[`{name}`][{targets[name]}]"
        else:
            yield name
