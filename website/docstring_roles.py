"""Docstrings, which are written with Sphinx roles, in the form of mkdocstrings."""

import re

import griffe

from website.exports import is_public

ROLE = re.compile(r":(?:class|meth|func|attr|mod|data|obj):`(?P<short>~?)(?P<target>[\w.]+)`")
EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)
"""The heading of an example; griffe knows its plural, and would take the code of this one for prose."""


def markdown(docstring: str, package: str = "") -> str:
    """``docstring`` with links where a role names something public, and with code where it does not.

    Args:
        docstring: with Sphinx roles.
        package: where names without a path are looked up; they stay code without one.

    Example:
        >>> markdown("See :class:`~unlearn_pl.goals.AtMost`, :meth:`weigh` and :func:`~unlearn_pl.inner.part.of`.")
        'See [`AtMost`][unlearn_pl.goals.AtMost], `weigh` and `of`.'
    """
    return EXAMPLE.sub(r"\1Examples:", ROLE.sub(lambda match: _link(match, package), docstring))


def _link(match: re.Match[str], package: str) -> str:
    target = match["target"]
    shown = target.rpartition(".")[2] if match["short"] else target
    target = target if target.startswith("unlearn_pl.") else f"{package}.{target}"
    return f"[`{shown}`][{target}]" if is_public(target) else f"`{shown}`"


class DocstringRoles(griffe.Extension):
    """Rewrites every docstring of the package once it is loaded."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrite the docstring of ``obj``."""
        if obj.docstring is not None:
            package = ".".join(obj.path.split(".")[:2])
            obj.docstring.value = markdown(obj.docstring.value, package)
