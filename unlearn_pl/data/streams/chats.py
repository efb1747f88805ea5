"""Conversations, from a user's own files."""

from collections.abc import Mapping

from unlearn_pl.data.io.bad_rows import OnBadRow
from unlearn_pl.data.io.entries import Table
from unlearn_pl.data.io.record import BadRowError, Record
from unlearn_pl.data.streams.pairs import PairSource
from unlearn_pl.data.text.encoder import Row
from unlearn_pl.data.text.template import Message

ROLES = ("system", "developer", "user", "assistant", "tool")
SHAREGPT = {
    "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "assistant": "assistant",
    "system": "system", "developer": "developer", "tool": "tool", "observation": "tool", "function_response": "tool",
}  # fmt: skip
"""Senders of ShareGPT's turns to roles."""


class Chats(PairSource):
    """Conversations in which the turns of the assistant are scored.

    Every turn of the assistant is an example, with all turns before it as the prompt. A row has a list of
    turns ``{"role": ..., "content": ...}``; roles are ``system`` or ``developer`` (first turn only), ``user``,
    ``assistant`` and ``tool``. Contents are texts, or lists of parts ``{"type": "text", "text": ...}``. ShareGPT's
    turns ``{"from": "human", "value": ...}`` are read, too. Turns of tools are read, not scored; calls of tools must be
    a part of the content.

    Args:
        path: a file (jsonl, json, parquet) or a folder of such files, a :class:`~unlearn_pl.data.HubDataset`, or rows
            in memory.
        column: column of the turns; ``messages``, or ``conversations`` in ShareGPT's files.
        last_turn_only: score only the last turn of the assistant.
        encoding: encoding of text files.
        on_bad_row: ``error`` raises at a row that cannot be read, has no turn of the assistant, or is too long;
            ``skip`` skips such rows and counts them in the log.

    Raises:
        ValueError: if ``on_bad_row`` is unknown; when the rows are read, if one cannot be used.
    """

    def __init__(
        self,
        path: Table,
        column: str = "messages",
        *,
        last_turn_only: bool = False,
        encoding: str = "utf-8",
        on_bad_row: OnBadRow = "error",
    ) -> None:
        super().__init__(path, encoding=encoding, on_bad_row=on_bad_row)
        self.column = column
        self.last_turn_only = last_turn_only

    def parse(self, row: Record) -> list[Row]:
        """A row for every turn of the assistant."""
        turns = _turns(row, self.column)
        rows = [
            Row(question=turns[:i], answer=turn["content"])
            for i, turn in enumerate(turns)
            if turn["role"] == "assistant" and i > 0
        ]
        if not rows:
            raise BadRowError(f"in {self.column!r} there is no answer of the assistant")
        return rows[-1:] if self.last_turn_only else rows


def _turns(row: Record, column: str) -> list[Message]:
    if column not in row:
        raise BadRowError(f"there is no column {column!r}, only {sorted(row)}")
    given = row[column]
    turns = [_turn(turn, column) for turn in given] if isinstance(given, list) else []
    if not turns:
        raise BadRowError(f"the column {column!r} has {given!r}; accepted is a list of turns")
    if any(turn["role"] in ("system", "developer") for turn in turns[1:]):
        raise BadRowError(f"in {column!r}, a system message comes after the first turn")
    return turns


def _turn(turn: object, column: str) -> Message:
    given = turn if isinstance(turn, Mapping) else {}
    role, content = given.get("role"), given.get("content")
    if "from" in given and "value" in given:
        role, content = SHAREGPT.get(str(given["from"])), given["value"]
    if given.get("tool_calls"):
        raise BadRowError(
            f"in {column!r} there is a turn with tool_calls; accepted are turns whose content holds the call, as the "
            "model writes it"
        )
    content = _joined(content)
    if role not in ROLES or content is None or not content.strip():
        raise BadRowError(
            f"in {column!r} there is {turn!r}; accepted is {{'role': ..., 'content': ...}}, with the roles "
            f"{', '.join(ROLES)} and a text, or {{'from': ..., 'value': ...}} with {', '.join(SHAREGPT)}"
        )
    return Message(role=str(role), content=content)


def _joined(content: object) -> str | None:
    """A content as text; None if it, or one of its parts, is not text."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else None
    texts = [part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None for part in content]
    return "".join(map(str, texts)) if texts and all(isinstance(text, str) for text in texts) else None
