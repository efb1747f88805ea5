"""Prompts with judged answers."""

from dataclasses import dataclass

from unlearn_pl.data.io.entries import Table
from unlearn_pl.data.io.record import BadRowError, Record, text_of
from unlearn_pl.data.io.rows import read_records
from unlearn_pl.data.text.encoder import Row

_JUDGED = ("prompt", "response_0", "response_1", "is_response_0_safe", "is_response_1_safe", "safer_response_id")
_CHOSEN = ("prompt", "chosen", "rejected")


@dataclass(frozen=True)
class JudgedPrompt:
    """A prompt with two answers.

    Attributes:
        prompt: what was asked.
        safer: the safer answer.
        other: the other answer.
        safer_is_safe: whether the safer answer is harmless.
        other_is_safe: whether the other answer is harmless as well.
    """

    prompt: str
    safer: str
    other: str
    safer_is_safe: bool = True
    other_is_safe: bool = False

    def answers(self, *, safe: bool) -> list[str]:
        """The harmless answers, or the harmful ones."""
        judged = ((self.safer, self.safer_is_safe), (self.other, self.other_is_safe))
        return [answer for answer, is_safe in judged if is_safe is safe]

    def comparison(self) -> Row:
        """The prompt with the safer answer as the correct one, and the other answer as a wrong one."""
        return Row(question=self.prompt, answer=self.safer, perturbed_answer=[self.other])


def read_judged(table: Table) -> list[JudgedPrompt]:
    """The judged answers of ``table``, in the columns of PKU-SafeRLHF or as ``prompt``, ``chosen`` and ``rejected``.

    Args:
        table: a file, a dataset of the hub, or rows.

    Raises:
        ValueError: naming the place of the first row that cannot be used, and the columns that are there.
    """
    return read_records(table, _parse, "judged answers")


def _parse(row: Record) -> JudgedPrompt:
    if all(column in row for column in _CHOSEN):
        prompt, chosen, rejected = (text_of(row, column) for column in _CHOSEN)
        return JudgedPrompt(prompt, chosen, rejected)
    missing = [column for column in _JUDGED if column not in row]
    if missing:
        raise BadRowError(
            f"there are no columns {missing}, only {sorted(map(str, row))}; accepted are {', '.join(_CHOSEN)}, "
            f"or {', '.join(_JUDGED)}"
        )
    prompt, *responses = (text_of(row, column) for column in _JUDGED[:3])
    safe = [_flag(row, column) for column in _JUDGED[3:5]]
    safer = _flag(row, "safer_response_id")
    return JudgedPrompt(prompt, responses[safer], responses[not safer], safe[safer], safe[not safer])


def _flag(row: Record, column: str) -> bool:
    flags = {"true": True, "1": True, "false": False, "0": False}
    value = str(row[column]).strip().lower()
    if value not in flags:
        raise BadRowError(f"the column {column!r} has {row[column]!r}; accepted are true, false, 0 and 1")
    return flags[value]
