"""Alternative answers to the forget questions, as AltPO needs them."""

from collections.abc import Sequence

from unlearn_pl.data.text.encoder import Row


def with_alternates(rows: Sequence[Row], alternates: Sequence[Row], source: str) -> list[Row]:
    """The questions of ``rows`` with their ``alternates`` as answers, of which every round of training draws one.

    Args:
        rows: the questions.
        alternates: rows with a question and an answer, or several answers; a question may have several rows.
        source: origin of the alternates, for the message.

    Raises:
        ValueError: if a question has no alternate answer.
    """
    answers: dict[str, list[str]] = {str(row["question"]): [] for row in rows}
    for row in alternates:
        given = row["answer"]
        answers.setdefault(str(row["question"]), []).extend([given] if isinstance(given, str) else given)
    missing = [row["question"] for row in rows if not answers[str(row["question"])]]
    if missing:
        raise ValueError(f"{source} has no answer to {len(missing)} of {len(rows)} questions, such as {missing[0]!r}.")
    return [Row(question=row["question"], answer=answers[str(row["question"])]) for row in rows]
