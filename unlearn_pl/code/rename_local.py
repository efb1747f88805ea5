"""Other names of local variables."""

from collections.abc import Sequence

from unlearn_pl.code.program import Program
from unlearn_pl.code.scopes import Function, functions, local_names, renamed
from unlearn_pl.code.transform import CodeTransform, Site


class RenameLocal(CodeTransform):
    """Renames a variable that a function assigns, in the function and the scopes inside that read it.

    Variables that a scope inside binds as well, that ``global``, ``nonlocal``, imports, handlers or patterns name, and
    those in f-strings keep their names.
    """

    def sites(self, program: Program) -> Sequence[Site]:
        """One per variable and function."""
        if program.looks_up_names:
            return []
        return [Site(function, name) for function in functions(program.tree) for name in local_names(function)]

    def rewrite(self, program: Program, site: Site, word: str) -> str | None:
        """See :meth:`CodeTransform.rewrite`."""
        assert isinstance(site.node, Function)
        return program.edited(renamed(program, site.node.body, site.name, word))
