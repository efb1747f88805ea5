"""What the source files of a package import from each other, read from their syntax trees alone."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

Tree = Mapping[str, str]
"""The source of every file, by its path below the package: ``data/io/tables.py``."""

PACKAGE = "unlearn_pl"


def read_tree(folder: Path) -> Tree:
    """The Python files below ``folder``."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*.py"))}


def imported(nodes: list[ast.stmt] | ast.AST, path: str) -> list[str]:
    """Absolute names of all that is imported, relative imports resolved: ``unlearn_pl.data.io.tables.read_rows``.

    Args:
        nodes: a syntax tree, or statements whose insides do not count.
        path: of the file that they are from.
    """
    package = [PACKAGE, *PurePosixPath(path).parent.parts]
    names = []
    for node in nodes if isinstance(nodes, list) else ast.walk(nodes):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names += [f"{module}.{alias.name}" for alias in node.names]
    return names


def file_of(name: str, tree: Tree) -> str | None:
    """The file that an imported name is taken from: the longest part of it that is a module of the package."""
    parts = name.split(".")[1:] if name.split(".")[0] == PACKAGE else []
    for length in range(len(parts), 0, -1):
        stem = "/".join(parts[:length])
        for path in (f"{stem}.py", f"{stem}/__init__.py"):
            if path in tree:
                return path
    return None


def edges(tree: Tree) -> dict[str, list[str]]:
    """The files that each file imports from, wherever the import stands: also inside functions."""
    return {
        path: sorted({file for name in imported(ast.parse(source), path) if (file := file_of(name, tree))} - {path})
        for path, source in tree.items()
    }


def cycles(graph: Mapping[str, list[str]]) -> Iterator[list[str]]:
    """Groups of files that all lead to each other (strongly connected components of more than one)."""
    left = set(graph)
    while left:
        start = min(left)
        forward, backward = _reached(start, graph), _reached(start, _turned(graph))
        group = sorted(forward & backward)
        if len(group) > 1:
            yield group
        left -= set(group) | {start}


def _reached(start: str, graph: Mapping[str, list[str]]) -> set[str]:
    seen, waiting = {start}, [start]
    while waiting:
        new = set(graph.get(waiting.pop(), ())) - seen
        seen |= new
        waiting += new
    return seen


def _turned(graph: Mapping[str, list[str]]) -> dict[str, list[str]]:
    turned: dict[str, list[str]] = {}
    for source, targets in graph.items():
        for target in targets:
            turned.setdefault(target, []).append(source)
    return turned
