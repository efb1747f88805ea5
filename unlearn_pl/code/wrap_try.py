"""Statements in a try block that raises again whatever it catches."""

import ast
from collections.abc import Sequence
from typing import ClassVar

from unlearn_pl.code.program import Edit, Program
from unlearn_pl.code.scopes import binds
from unlearn_pl.code.statements import first_line, has_long_text, indentation, shifted, unit, whole_lines
from unlearn_pl.code.transform import CodeTransform, Site


class WrapTry(CodeTransform):
    """``statement`` becomes ``try: statement`` ``except Exception: raise``."""

    takes_word: ClassVar[bool] = False

    def sites(self, program: Program) -> Sequence[Site]:
        """One per statement."""
        if binds(program, "Exception"):
            return []
        return [
            Site(statement)
            for statement in whole_lines(program)
            if not has_long_text(statement) and not isinstance(statement, ast.Global | ast.Nonlocal)
        ]

    def rewrite(self, program: Program, site: Site, word: str) -> str | None:
        """See :meth:`CodeTransform.rewrite`."""
        statement = site.node
        assert isinstance(statement, ast.stmt)
        assert statement.end_lineno is not None
        indent, end = indentation(program, statement), program.newline
        text = f"{indent}try:{end}{shifted(program, statement)}{indent}except Exception:{end}"
        text += f"{indent}{unit(indent)}raise{end}"
        start, stop = program.line_start(first_line(statement)), program.line_start(statement.end_lineno + 1)
        return program.edited([Edit(start, stop, text)])
