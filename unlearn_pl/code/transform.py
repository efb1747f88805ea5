"""Base class of transformations of source code that keep its behavior."""

import ast
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from unlearn_pl.code.program import Program
from unlearn_pl.code.words import fresh_word
from unlearn_pl.recording import Recorded


@dataclass(frozen=True)
class Site:
    """One place where a transformation applies.

    Attributes:
        node: the part of the syntax tree that it changes.
        name: the name that it replaces, or which of several forms it takes; empty if there is only one.
    """

    node: ast.AST
    name: str = ""


class CodeTransform(Recorded, ABC):
    """Rewrites a Python program into another one with the same behavior.

    The program is a closed world: nothing outside of it reads its local names, passes arguments to it by keyword
    unless the program does so itself, or reads fields of its objects. What returns, is raised (up to names in messages
    about unbound variables and missing attributes) and is written stays the same. Text outside of the change is kept,
    with its comments and white space.

    Attributes:
        takes_word: whether the rewritten program has a new name or text that may be chosen.

    References:
        Jia et al., CLAWSAT: Towards Both Robust and Accurate Code Models, SANER 2023, arXiv 2211.11709, table I. The
        authors' transformations change what programs do in about one of eight executions; these leave out whatever
        they cannot transform safely.
    """

    takes_word: ClassVar[bool] = True

    @abstractmethod
    def sites(self, program: Program) -> Sequence[Site]:
        """The places where the transformation is safe, in the order of the text."""

    @abstractmethod
    def rewrite(self, program: Program, site: Site, word: str) -> str | None:
        """The program after the transformation of one site; None if the result does not compile.

        Args:
            program: the program.
            site: one of :meth:`sites`.
            word: a name that the program does not contain; not read unless ``takes_word``.
        """

    def apply(self, source: str, rng: random.Random) -> str | None:
        """``source`` with one site transformed, at random.

        Args:
            source: Python source of this interpreter's version.
            rng: decides on the site and the new name.

        Returns:
            None if ``source`` is not Python, or there is no site where the transformation is safe.
        """
        program = Program.parse(source)
        if program is None or not (sites := self.sites(program)):
            return None
        return self.rewrite(program, rng.choice(sites), fresh_word(program.words, rng))
