"""Forget and retain sets from a user's own programs."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Unpack

from transformers import PreTrainedTokenizerBase

from unlearn_pl.code import Program
from unlearn_pl.data.benchmarks.code.code_streams import CodeSet, CodeStreams
from unlearn_pl.data.benchmarks.code.program_files import functions_in, lines_in, read_programs, secrets_in
from unlearn_pl.data.evaluation.code_completion import CodeCompletion
from unlearn_pl.data.io.bad_rows import OnBadRow, check_on_bad_row
from unlearn_pl.data.options import DataOptions
from unlearn_pl.data.views.code_views import CodeViews


class CodeDataModule(CodeStreams):
    """Your own Python programs: what a code model must no longer write, and what it should.

    The forget set is what ``patterns`` match (each in the function around it), the ``lines`` of files, or else every
    function of ``forget``, of which the model is shown the head::

        CodeDataModule(forget="src/", patterns=[r'password = "([^"]+)"'], lines={"src/gpl.py": [10, 60]})

    Streams and splits are those of :class:`~unlearn_pl.data.CodeStreams`.

    Args:
        tokenizer: a tokenizer, or the name or path of one; by default that of the module's model.
        forget: a ``.py`` file, a folder with such files, or a table (jsonl, json, csv, parquet) of programs.
        retain: likewise: every function of it is retained; by default the functions of ``forget`` that hold nothing of
            the forget set.
        holdout: functions like those of the forget set that the model was never trained on; None for no such set.
        patterns: regular expressions; a group, where there is one, is what must not be known, else the whole match.
            Configurations and checkpoints hold them: match what stands around a secret, and do not spell it out.
        lines: path of a file to its first and last line, from 1, that must not be known.
        column: of tables, the one with the program.
        views: other programs with the same behavior; all transformations by default.
        candidates: views to choose from in ``forget.adversarial``.
        period: epochs between two choices.
        on_bad_row: ``error`` raises at a program that is not Python, ``skip`` skips and counts such programs.
        options: see :class:`~unlearn_pl.data.UnlearningDataModule`.

    Raises:
        ValueError: if nothing is to be forgotten, a pattern is no regular expression; from ``setup``, if a file cannot
            be read, or nothing matches.
    """

    def __init__(
        self,
        tokenizer: str | PreTrainedTokenizerBase | None = None,
        *,
        forget: str | Path | None = None,
        retain: str | Path | None = None,
        holdout: str | Path | None = None,
        patterns: Sequence[str] = (),
        lines: Mapping[str, Sequence[int]] | None = None,
        column: str = "code",
        views: CodeViews | None = None,
        candidates: int = 8,
        period: int = 5,
        on_bad_row: OnBadRow = "error",
        **options: Unpack[DataOptions],
    ) -> None:
        check_on_bad_row(on_bad_row)
        if forget is None and not lines:
            raise ValueError("Nothing is to be forgotten. Accepted: forget=path, or lines={path: [first, last]}.")
        if isinstance(patterns, str):
            raise ValueError(f"patterns={patterns!r} is a single text; accepted is a list of regular expressions.")
        self.forget, self.retain, self.holdout = forget, retain, holdout
        self.patterns = [_compiled(pattern) for pattern in patterns]
        self.lines = dict(lines or {})
        self.column = column
        self.views = views or CodeViews()
        self.candidates, self.period = candidates, period
        self.on_bad_row: OnBadRow = on_bad_row
        super().__init__(tokenizer, **options)

    def code_rows(self, name: CodeSet) -> list[CodeCompletion]:
        """See :meth:`CodeStreams.code_rows`."""
        if name == "forget":
            return self._forget_rows()
        path = self.retain if name == "retain" else self.holdout
        if path is not None:
            return self._functions(path)
        if name == "holdout" or self.forget is None:
            return []
        secret = {row.answer for row in self._forget_rows()}
        return [row for row in self._functions(self.forget) if not any(text in row.program for text in secret)]

    def _forget_rows(self) -> list[CodeCompletion]:
        rows = [self._lines(path, bounds) for path, bounds in self.lines.items()]
        if self.forget is not None and (self.patterns or not self.lines):
            programs = self._programs(self.forget)
            of_file = (secrets_in(p, self.patterns) if self.patterns else functions_in(p) for p in programs)
            rows += [row for found in of_file for row in found]
        if not rows:
            given = [pattern.pattern for pattern in self.patterns]
            raise ValueError(f"Nothing in {self.forget} is to be forgotten: no function, or no match of {given}.")
        return rows

    def _lines(self, path: str, bounds: Sequence[int]) -> CodeCompletion:
        if len(bounds) != 2:
            raise ValueError(f"lines of {path} are {list(bounds)}; accepted are a first and a last line: [10, 60].")
        (program,) = self._programs(path)
        return lines_in(program, *bounds)

    def _functions(self, path: str | Path) -> list[CodeCompletion]:
        return [row for program in self._programs(path) for row in functions_in(program)]

    def _programs(self, path: str | Path) -> list[Program]:
        return read_programs(path, self.column, self.on_bad_row)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"The pattern {pattern!r} is no regular expression: {error}.") from error
