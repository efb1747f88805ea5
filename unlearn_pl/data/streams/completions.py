"""Prompts with their correct continuations, from files."""

from unlearn_pl.data.evaluation.completion import Completion
from unlearn_pl.data.io.entries import Table, name_of
from unlearn_pl.data.io.in_memory import kept
from unlearn_pl.data.io.record import Record, text_of
from unlearn_pl.data.io.recorded_rows import with_described
from unlearn_pl.data.io.rows import read_records
from unlearn_pl.data.streams.right_answers import RightAnswers
from unlearn_pl.recording import arguments_of


class Completions(RightAnswers):
    """Prompts and continuations, used verbatim: no template, and no end-of-sequence token; the continuation is scored.

    Examples are the passages of MUSE's VerbMem.

    Args:
        path: a file or folder (jsonl, json, csv, tsv, parquet), a :class:`~unlearn_pl.data.HubDataset`, or rows.
        prompt: column of the prompt.
        answer: column of the continuation; it is joined by a space unless there is white space between the two.
        size: number of rows, from the first one; None for all.

    Raises:
        ValueError: if ``size`` is not positive; when the rows are read, if one cannot be used.
    """

    def __init__(self, path: Table, prompt: str = "prompt", answer: str = "gt", *, size: int | None = None) -> None:
        super().__init__(size)
        self.path = kept(path)
        self.prompt = prompt
        self.answer = answer

    def recorded_arguments(self) -> dict[str, object]:
        """The arguments, with a description of rows in memory in their place."""
        return with_described(arguments_of(self), ("path",))

    def rows(self) -> list[Completion]:
        """The prompts with their continuations."""

        def parse(row: Record) -> Completion:
            return Completion.joined(text_of(row, self.prompt), text_of(row, self.answer))

        return read_records(self.path, parse, str(self))

    def __str__(self) -> str:
        return f"Completions of {name_of(self.path)}"
