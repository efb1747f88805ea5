"""Pages of the API: one for every public package, with what it exports."""

import inspect
from types import ModuleType

from website import docstring_roles
from website.exports import exports, packages


def pages() -> dict[str, str]:
    """Path of each page of the reference to its Markdown."""
    written = {"docs/api/index.md": _index()}
    for package, module in packages():
        blocks = [f"::: unlearn_pl.{package}.{name}\n" for name in exports(module)]
        title = f"# unlearn_pl.{package}\n\n{_description(module)}\n\n"
        written[f"docs/api/{package}.md"] = title + "\n".join(blocks)
    return written


def _index() -> str:
    lines = [
        "# API reference",
        "",
        "Everything that a package exports, from the docstrings.",
        "",
        "| package | what it holds |",
        "|---|---|",
    ]
    for package, module in packages():
        summary = _description(module).partition("\n\n")[0].replace("\n", " ")
        lines.append(f"| [`unlearn_pl.{package}`]({package}.md) | {summary} |")
    return "\n".join(lines) + "\n"


def _description(module: ModuleType) -> str:
    return docstring_roles.markdown(inspect.getdoc(module) or "", module.__name__)
