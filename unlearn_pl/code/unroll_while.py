"""Loops of which the first round stands before the loop."""

import ast
from collections.abc import Iterator, Sequence
from typing import ClassVar

from unlearn_pl.code.program import Edit, Program
from unlearn_pl.code.statements import has_long_text, indentation, shifted, whole_lines
from unlearn_pl.code.transform import CodeTransform, Site


class UnrollWhile(CodeTransform):
    """``while test: body`` becomes ``if test: body; while test: body``.

    Loops with an ``else`` clause, or a ``break`` or ``continue`` of their own, stay.
    """

    takes_word: ClassVar[bool] = False

    def sites(self, program: Program) -> Sequence[Site]:
        """One per loop."""
        return [Site(statement) for statement in whole_lines(program) if _can_unroll(program, statement)]

    def rewrite(self, program: Program, site: Site, word: str) -> str | None:
        """See :meth:`CodeTransform.rewrite`."""
        loop = site.node
        assert isinstance(loop, ast.While)
        assert loop.end_lineno is not None
        start, end = program.line_start(loop.lineno), program.line_start(loop.end_lineno + 1)
        test = program.source[slice(*program.span(loop.test))]
        body = program.source[program.line_start(loop.body[0].lineno) : end]
        first = f"{indentation(program, loop)}if ({test}):{program.newline}{body}"
        first += "" if first.endswith(("\n", "\r")) else program.newline
        return program.edited([Edit(start, end, first + shifted(program, loop))])


def _can_unroll(program: Program, statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.While) or statement.orelse or has_long_text(statement):
        return False
    below = statement.body[0].lineno > (statement.test.end_lineno or statement.lineno)
    decorated = bool(getattr(statement.body[0], "decorator_list", []))
    return below and not decorated and not any(_leaves(part) for part in statement.body)


def _leaves(node: ast.AST) -> bool:
    """Whether a ``break`` or ``continue`` in ``node`` belongs to the loop around it."""
    if isinstance(node, ast.Break | ast.Continue):
        return True
    return any(_leaves(part) for part in _same_loop(node))


def _same_loop(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        return
    if isinstance(node, ast.For | ast.AsyncFor | ast.While):
        yield from node.orelse
    else:
        yield from ast.iter_child_nodes(node)
