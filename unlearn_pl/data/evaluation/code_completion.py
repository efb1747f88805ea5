"""Rows that are a part of a program."""

from dataclasses import dataclass

from unlearn_pl.data.evaluation.completion import Completion


@dataclass(frozen=True)
class CodeCompletion(Completion):
    """A part of a program that the model writes after what stands before it, used verbatim.

    The part is a text that must not be known, such as a password, or all of a function after its head.

    Args:
        text: the program before the answer.
        answer: the part.
        keep_spaces: keep spaces at the end of ``text`` in it.
        rest: the program behind the answer, which is neither shown nor scored; empty for all of a function.
    """

    rest: str = ""

    @property
    def program(self) -> str:
        """The whole program."""
        return self.text + self.answer + self.rest

    def within(self, program: str) -> "CodeCompletion | None":
        """The same part of a rewritten program.

        An answer with something behind it must occur there once, unchanged; one that is the rest of its program begins
        on the same line as before.

        Returns:
            None if it cannot be found, or neither it nor what stands before has changed.
        """
        if self.rest.strip():
            if program.count(self.answer) != 1:
                return None
            text, rest = program.split(self.answer)
            return None if text == self.text else CodeCompletion(text, self.answer, self.keep_spaces, rest)
        if not self.text.endswith("\n"):
            return None
        lines = program.splitlines(keepends=True)
        head = self.text.count("\n")
        text, answer = "".join(lines[:head]), "".join(lines[head:])
        return None if (text, answer) == (self.text, self.answer) else CodeCompletion(text, answer, self.keep_spaces)
