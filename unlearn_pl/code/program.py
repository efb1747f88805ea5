"""A parsed program, and edits of its text that leave the rest as it is."""

import ast
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

_LINE_END = re.compile(r"\r\n|\r|\n")
_WORD = re.compile(r"[^\W\d]\w*")
INTROSPECTION = frozenset(
    [
        *("locals", "vars", "dir", "eval", "exec", "globals", "getattr", "setattr", "delattr", "hasattr"),
        *("inspect", "signature", "currentframe", "_getframe", "f_locals", "attrgetter", "pickle"),
        *("__dict__", "__code__", "__slots__", "__annotations__", "__getattr__", "__getattribute__", "__setattr__"),
    ]
)
"""Words of programs that may look names up by their spelling."""


@dataclass(frozen=True)
class Edit:
    """A replacement of the characters ``[start, end)`` of a text."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Program:
    """Python source with its syntax tree.

    Attributes:
        source: the text.
        tree: its syntax tree.
    """

    source: str
    tree: ast.Module

    @classmethod
    def parse(cls, source: str) -> Self | None:
        """The program; None if ``source`` is not Python of this interpreter's version."""
        tree = parsed(source)
        return None if tree is None else cls(source, tree)

    @cached_property
    def words(self) -> frozenset[str]:
        """Every word of the text, also in strings and comments: a superset of all names."""
        return frozenset(_WORD.findall(self.source))

    @property
    def looks_up_names(self) -> bool:
        """Whether it may look names up by their spelling, so that none can be renamed."""
        return bool(self.words & INTROSPECTION)

    @property
    def newline(self) -> str:
        """The line ending in use."""
        found = _LINE_END.search(self.source)
        return found.group() if found else "\n"

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(found.end() for found in _LINE_END.finditer(self.source))]

    def line_start(self, line: int) -> int:
        """Offset of the first character of a line, from 1; of the end of the text for the line after the last."""
        return self._starts[line - 1] if line <= len(self._starts) else len(self.source)

    def line(self, line: int) -> str:
        """A line, with its ending."""
        return self.source[self.line_start(line) : self.line_start(line + 1)]

    def offset(self, line: int, column: int) -> int:
        """Offset of a position of the syntax tree, whose columns count bytes of UTF-8."""
        text = self.line(line)
        return self.line_start(line) + (column if text.isascii() else len(text.encode()[:column].decode()))

    def span(self, node: ast.expr | ast.stmt | ast.arg) -> tuple[int, int]:
        """Offsets of a node's first character and of the one behind it."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.offset(node.lineno, node.col_offset), self.offset(node.end_lineno, node.end_col_offset)

    def edited(self, edits: Iterable[Edit]) -> str | None:
        """The text after ``edits``, which do not overlap; None if it does not compile."""
        text = self.source
        for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
            text = text[: edit.start] + edit.text + text[edit.end :]
        return text if compiles(text) else None


def parsed(source: str) -> ast.Module | None:
    """The syntax tree; None if ``source`` is not Python of this interpreter's version."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the program, not about us
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def compiles(source: str) -> bool:
    """Whether ``source`` compiles; nothing of it is run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, "<view>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
