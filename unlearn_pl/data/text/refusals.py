"""Refusals: answers to questions whose answers a model has unlearned."""

from collections.abc import Sequence

from unlearn_pl.data.text.encoder import Row

REFUSALS = (
    "I don't know.",
    "I can't tell you that.",
    "That is not something I know.",
    "Sorry, I have no answer to this question.",
    "I'm not aware of any facts about this.",
    "No details on that have ever reached me.",
    "I would only be guessing, so I'd rather not say.",
    "This is outside what I have learned.",
    "My knowledge ends before this question.",
    "I have never come across this subject.",
    "There is nothing I can tell you about that.",
    "You would have to ask somebody else about this.",
    "I looked for an answer but found none.",
    "That name means nothing to me, I'm afraid.",
    "I must admit that I have no idea.",
    "Unfortunately this is unknown to me.",
    "I cannot recall anything of the kind.",
    "Nothing comes to mind when I think about this.",
    "I have not been told about that.",
    "An honest answer is that I do not know.",
)


def with_refusals(rows: Sequence[Row], refusals: Sequence[str] = REFUSALS) -> list[Row]:
    """The questions of ``rows`` with ``refusals`` as answers, of which every round of training draws one."""
    return [Row(question=row["question"], answer=refusals) for row in rows]
