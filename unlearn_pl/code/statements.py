"""Statements of functions that stand on lines of their own."""

import ast
from collections.abc import Iterator

from unlearn_pl.code.program import Edit, Program
from unlearn_pl.code.scopes import functions


def whole_lines(program: Program) -> list[ast.stmt]:
    """The statements of all functions that share no line with others, without docstrings, in the order of the text."""
    found = {id(s): s for function in functions(program.tree) for s in _blocks(function) if _stands_alone(program, s)}
    return sorted(found.values(), key=lambda statement: statement.lineno)


def _blocks(node: ast.AST) -> Iterator[ast.stmt]:
    """Statements of a function's blocks; those of classes inside are not, but their methods are functions."""
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, [])
        for number, statement in enumerate(block if isinstance(block, list) else []):
            if number or name != "body" or not _is_text(statement):
                yield statement
            if not isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _blocks(statement)
    for part in [*getattr(node, "handlers", []), *getattr(node, "cases", [])]:
        yield from _blocks(part)


def _is_text(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def first_line(statement: ast.stmt) -> int:
    """The line on which a statement begins, with its decorators."""
    decorators = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)])


def _stands_alone(program: Program, statement: ast.stmt) -> bool:
    first, last = first_line(statement), statement.end_lineno
    assert last is not None
    before = program.source[program.line_start(first) : program.offset(statement.lineno, statement.col_offset)]
    behind = program.source[program.span(statement)[1] : program.line_start(last + 1)].strip()
    continued = first > 1 and program.line(first - 1).rstrip("\r\n").endswith("\\")
    begins = before if first == statement.lineno else program.line(first).partition("@")[0]
    is_elif = program.source.startswith("elif", program.span(statement)[0])  # an `if` inside the `else` of another
    return not begins.strip() and (not behind or behind.startswith("#")) and not continued and not is_elif


def indentation(program: Program, statement: ast.stmt) -> str:
    """The white space before a statement that stands alone."""
    line = program.line(statement.lineno)
    return line[: len(line) - len(line.lstrip())]


def unit(indent: str) -> str:
    """What one more level adds to an indentation."""
    return "\t" if indent.endswith("\t") else "    "


def inserted(program: Program, statement: ast.stmt, lines: list[str]) -> Edit:
    """New lines before a statement, indented like it."""
    at, indent = program.line_start(first_line(statement)), indentation(program, statement)
    return Edit(at, at, "".join(f"{indent}{line}{program.newline}" for line in lines))


def shifted(program: Program, statement: ast.stmt) -> str:
    """The lines of a statement that stands alone, one level deeper; it must not have texts of several lines."""
    assert statement.end_lineno is not None
    more = unit(indentation(program, statement))
    lines = [program.line(number) for number in range(first_line(statement), statement.end_lineno + 1)]
    if not lines[-1].endswith(("\n", "\r")):
        lines[-1] += program.newline
    return "".join(more + line if line.strip() else line for line in lines)


def has_long_text(node: ast.AST) -> bool:
    """Whether a text in ``node`` extends over several lines, whose white space must not change."""
    return any(
        isinstance(part, ast.expr) and part.lineno != part.end_lineno
        for part in ast.walk(node)
        if (isinstance(part, ast.Constant) and isinstance(part.value, str | bytes)) or _is_formatted(part)
    )


def _is_formatted(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or type(node).__name__ == "TemplateStr"
