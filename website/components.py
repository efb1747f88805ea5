"""Pages of everything that methods are made of: a section per row of the other tables of METHODS.md."""

from collections.abc import Iterator

from website import catalog, exports

FORMULAS = {"formula", "rule", "score `S`", "keeps", "gradient or step", "what `theta_1` was trained on"}
"""Columns that hold an equation, or the rule in words."""
SHOWN = {"name", "class", "paper", "equation", "status", "what we follow", *FORMULAS}


def path_of(heading: str) -> str:
    """Path of the page of a section of METHODS.md."""
    return f"docs/methods/{heading.lower().replace(' ', '_')}.md"


def headings() -> list[str]:
    """The sections of METHODS.md that have a table, methods aside."""
    return [heading for heading in catalog.tables() if heading != "Methods"]


def pages() -> dict[str, str]:
    """Path of each page to its Markdown."""
    return {path_of(heading): "\n\n".join(_page(heading)) + "\n" for heading in headings()}


def _page(heading: str) -> Iterator[str]:
    yield f"# {heading}"
    yield _moved(catalog.introduction(heading))
    for row in catalog.tables()[heading]:
        yield f"## {row['name']}"
        yield _label(row)
        (formula,) = (row[column].replace("\\|", "|") for column in row if column in FORMULAS)
        yield f'<div class="equation" markdown>\n{formula}\n</div>'
        facts = [f"{column}: {cell}" for column, cell in row.items() if column not in SHOWN]
        if facts:
            yield "; ".join(facts)[0].upper() + "; ".join(facts)[1:] + "."
        if row["paper"] != "-":
            where = "" if row.get("equation", "-") == "-" else f", {row['equation']}"
            yield f"{catalog.with_papers(row['paper'])}{where}."
        yield _moved(row["what we follow"])


def _label(row: catalog.Row) -> str:
    names = catalog.classes_in(row.get("class", ""))
    places = exports.targets()
    linked = [f"[`{name}`][{places[name]}]" if name in places else f"`{name}`" for name in names]
    return " ".join([catalog.badge(row["status"]), *linked])


def _moved(text: str) -> str:
    """``text`` with links as they are from the folder of the pages."""
    return text.replace("](docs/", "](../").replace("](CONTRIBUTING.md", "](../../CONTRIBUTING.md")
