"""Cross-references of docstrings, which are written as Sphinx roles, in the form of mkdocstrings."""

import re

import griffe

ROLE = re.compile(r":(?:class|meth|func|attr|mod|data|obj):`(?P<short>~?)(?P<target>[\w.]+)`")


def markdown(docstring: str) -> str:
    """``docstring`` with links where a role names a whole path, and with code where it does not.

    Example:
        >>> markdown("See :class:`~a.b.C` and :meth:`weigh`.")
        'See [`C`][a.b.C] and `weigh`.'
    """
    return ROLE.sub(_link, docstring)


def _link(match: re.Match[str]) -> str:
    target = match["target"]
    shown = target.rpartition(".")[2] if match["short"] else target
    return f"[`{shown}`][{target}]" if target.startswith("unlearn_pl.") else f"`{shown}`"


class DocstringRoles(griffe.Extension):
    """Rewrites every docstring of the package once it is loaded."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrite the docstring of ``obj``."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)
