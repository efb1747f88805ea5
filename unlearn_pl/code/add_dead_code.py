"""Statements that never run."""

import ast
from collections.abc import Sequence

from unlearn_pl.code.program import Program
from unlearn_pl.code.statements import indentation, inserted, unit, whole_lines
from unlearn_pl.code.transform import CodeTransform, Site

CONDITIONS = ("if False:", "while False:", "if 0:")


class AddDeadCode(CodeTransform):
    """Inserts an assignment under a condition that is never true, before a statement of a function."""

    def sites(self, program: Program) -> Sequence[Site]:
        """One per statement and condition."""
        if program.looks_up_names:
            return []
        return [Site(statement, condition) for statement in whole_lines(program) for condition in CONDITIONS]

    def rewrite(self, program: Program, site: Site, word: str) -> str | None:
        """See :meth:`CodeTransform.rewrite`."""
        assert isinstance(site.node, ast.stmt)
        more = unit(indentation(program, site.node))
        return program.edited([inserted(program, site.node, [site.name, f"{more}{word} = 0"])])
