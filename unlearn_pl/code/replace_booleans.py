"""Other spellings of True and False."""

import ast
from collections.abc import Sequence
from typing import ClassVar

from unlearn_pl.code.program import Edit, Program
from unlearn_pl.code.transform import CodeTransform, Site

FORMS = {True: ("(not False)", "(1 == 1)"), False: ("(not True)", "(1 == 0)")}


class ReplaceBooleans(CodeTransform):
    """Writes a ``True`` as ``(not False)`` or ``(1 == 1)``, and a ``False`` likewise.

    Those in annotations, patterns and f-strings stay.
    """

    takes_word: ClassVar[bool] = False

    def sites(self, program: Program) -> Sequence[Site]:
        """One per constant and form."""
        kept = _kept(program.tree)
        constants = [
            node
            for node in ast.walk(program.tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, bool) and id(node) not in kept
        ]
        constants.sort(key=lambda node: (node.lineno, node.col_offset))
        return [Site(node, form) for node in constants for form in FORMS[node.value is True]]

    def rewrite(self, program: Program, site: Site, word: str) -> str | None:
        """See :meth:`CodeTransform.rewrite`."""
        assert isinstance(site.node, ast.Constant)
        return program.edited([Edit(*program.span(site.node), site.name)])


def _kept(tree: ast.AST) -> set[int]:
    """Constants that must stay as they are."""
    whole: list[ast.AST | None] = []
    for node in ast.walk(tree):
        whole += [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.JoinedStr | ast.pattern) or type(node).__name__ == "TemplateStr":
            whole.append(node)
    return {id(part) for node in whole if node is not None for part in ast.walk(node)}
