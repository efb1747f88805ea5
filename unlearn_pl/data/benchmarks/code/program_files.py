"""Programs from files, cut into the parts that a model completes."""

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info

from unlearn_pl.code import Program
from unlearn_pl.data.evaluation.code_completion import CodeCompletion
from unlearn_pl.data.io.bad_rows import OnBadRow
from unlearn_pl.data.io.contained import check_contained
from unlearn_pl.data.io.record import Record, text_of
from unlearn_pl.data.io.rows import read_records


def read_programs(path: str | Path, column: str, on_bad_row: OnBadRow) -> list[Program]:
    """Every program, parsed.

    Args:
        path: a ``.py`` file, a folder with such files, or a table with a column of programs.
        column: its name.
        on_bad_row: what to do about programs that are not Python.

    Raises:
        ValueError: naming the file, if there is none, or if one is not Python and ``on_bad_row`` is ``error``.
    """
    place = Path(path)
    if not place.exists():
        raise ValueError(f"There is no {place}. Accepted: a .py file, a folder of them, or a table of programs.")
    files = [place] if place.suffix == ".py" else sorted(place.rglob("*.py")) if place.is_dir() else []
    if files:
        found = [(str(file), _text(check_contained(file, place) if place.is_dir() else file)) for file in files]
    else:
        texts = read_records(str(place), lambda row: _cell(row, column), str(place))
        found = [(f"{place}, row {number}", text) for number, text in enumerate(texts)]
    programs = {where: Program.parse(source) for where, source in found}
    bad = [where for where, program in programs.items() if program is None]
    if bad and on_bad_row == "error":
        raise ValueError(
            f"{bad[0]} is not Python of this interpreter's version ({len(bad)} of {len(found)}). Accepted "
            "besides mending it: on_bad_row='skip'."
        )
    if bad:
        rank_zero_info(f"{path}: {len(bad)} of {len(found)} programs are not Python and are skipped")
    return [program for program in programs.values() if program is not None]


def _cell(row: Record, column: str) -> str:
    return text_of(row, column)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8: {error}.") from error


def secrets_in(program: Program, patterns: Sequence[re.Pattern[str]]) -> Iterator[CodeCompletion]:
    """What patterns match, each in the function around it, or in the whole program where there is none.

    Args:
        program: the program.
        patterns: regular expressions; a group, where there is one, is what must not be known, else the whole match.
    """
    source, blocks = program.source, list(_functions(program))
    for pattern in patterns:
        for found in pattern.finditer(source):
            start, end = found.span(1 if pattern.groups else 0)
            around = [block for block in blocks if block[0] <= start and end <= block[1]]
            first, last = max(around, default=(0, len(source)))
            text, answer, rest = source[first:start], source[start:end], source[end:last]
            if answer.strip() and text.strip():
                yield CodeCompletion(text, answer, rest=rest)


def functions_in(whole: Program) -> Iterator[CodeCompletion]:
    """Every function of a program: its head is shown, and the rest completed."""
    source = whole.source
    for first, last in _functions(whole):
        program = textwrap.dedent(source[source.rfind("\n", 0, first) + 1 : last].rstrip() + "\n")
        tree = Program.parse(program)
        if tree is None or not isinstance(definition := tree.tree.body[0], ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        begin = tree.line_start(definition.body[0].lineno)
        if program[begin:].strip() and program[:begin].strip():
            yield CodeCompletion(program[:begin], program[begin:])


def lines_in(program: Program, first: int, last: int) -> CodeCompletion:
    """Lines ``first`` to ``last`` of a program, from 1, after what stands before them.

    Raises:
        ValueError: if there are no such lines, or nothing stands before them.
    """
    lines = program.source.splitlines(keepends=True)
    if not 1 < first <= last <= len(lines):
        raise ValueError(f"lines={first}-{last}; accepted are lines from 2 to {len(lines)}, after something to show.")
    text, answer = "".join(lines[: first - 1]), "".join(lines[first - 1 : last])
    return CodeCompletion(text, answer, rest="".join(lines[last:]))


def _functions(program: Program) -> Iterator[tuple[int, int]]:
    """Offsets of the outermost functions and methods."""
    waiting: list[ast.AST] = list(program.tree.body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield program.span(node)
        elif isinstance(node, ast.ClassDef):
            waiting = [*node.body, *waiting]
