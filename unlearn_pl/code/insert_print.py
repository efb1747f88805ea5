"""Statements that print nothing."""

import ast
from collections.abc import Sequence

from unlearn_pl.code.program import Program
from unlearn_pl.code.scopes import binds
from unlearn_pl.code.statements import inserted, whole_lines
from unlearn_pl.code.transform import CodeTransform, Site


class InsertPrint(CodeTransform):
    """Inserts ``print("word"[:0], end="")``, which writes an empty text, before a statement of a function."""

    def sites(self, program: Program) -> Sequence[Site]:
        """One per statement."""
        return [] if binds(program, "print") else [Site(statement) for statement in whole_lines(program)]

    def rewrite(self, program: Program, site: Site, word: str) -> str | None:
        """See :meth:`CodeTransform.rewrite`."""
        assert isinstance(site.node, ast.stmt)
        return program.edited([inserted(program, site.node, [f'print("{word}"[:0], end="")'])])
