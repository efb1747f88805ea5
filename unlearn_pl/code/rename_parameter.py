"""Other names of parameters."""

import ast
from collections.abc import Sequence

from unlearn_pl.code.program import Edit, Program
from unlearn_pl.code.scopes import Function, functions, parameters, renamed, unmovable
from unlearn_pl.code.transform import CodeTransform, Site


class RenameParameter(CodeTransform):
    """Renames a parameter of a function without decorators, and its mentions in the function.

    Keyword-only parameters keep their names, and so do those that any call of the program passes by keyword. If a call
    passes ``**arguments``, only variadic and positional-only parameters are renamed.
    """

    def sites(self, program: Program) -> Sequence[Site]:
        """One per parameter."""
        if program.looks_up_names:
            return []
        passed = {keyword.arg for node in ast.walk(program.tree) for keyword in getattr(node, "keywords", [])}
        return [
            Site(function, parameter.arg)
            for function in functions(program.tree)
            if not function.decorator_list
            for parameter in _safe(function, passed)
        ]

    def rewrite(self, program: Program, site: Site, word: str) -> str | None:
        """See :meth:`CodeTransform.rewrite`."""
        assert isinstance(site.node, Function)
        (parameter,) = (given for given in parameters(site.node.args) if given.arg == site.name)
        start, _ = program.span(parameter)
        declared = Edit(start, start + len(site.name), word)
        return program.edited([declared, *renamed(program, site.node.body, site.name, word)])


def _safe(function: Function, passed: set[str | None]) -> list[ast.arg]:
    arguments = function.args
    variadic = [given for given in (arguments.vararg, arguments.kwarg) if given is not None]
    by_position = [*arguments.posonlyargs, *variadic]
    if None not in passed:
        by_position += [parameter for parameter in arguments.args if parameter.arg not in passed]
    fixed = unmovable(function)
    return [
        p for p in by_position if p.arg not in fixed and p.arg not in ("self", "cls") and not p.arg.startswith("__")
    ]
