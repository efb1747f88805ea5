"""Views of questions: in a frame, or as the data set paraphrases them."""

import random
from collections.abc import Sequence
from typing import cast

from unlearn_pl.data.evaluation.evaluation_row import EvaluationRow, Question
from unlearn_pl.data.text.encoder import Row
from unlearn_pl.data.views.row_views import RowViews, check_kind

FRAMES = (
    "Please tell me: {}",
    "I would like to know the following. {}",
    "Answer this question: {}",
    "{} Please be specific.",
)


class QuestionFrames(RowViews):
    """The question in a frame, such as "Please tell me: ..."; the question itself is unchanged.

    Args:
        frames: texts with ``{}`` in the place of the question.

    Raises:
        ValueError: if there are no frames, or one has no ``{}``.
    """

    def __init__(self, frames: Sequence[str] = FRAMES) -> None:
        if not frames or not all("{}" in frame for frame in frames):
            raise ValueError(f"frames={list(frames)}; accepted is at least one text with {{}} for the question.")
        self.frames = list(frames)

    def check(self, rows: Sequence[EvaluationRow]) -> None:
        """Check that the rows are questions of plain text."""
        check_kind(rows, Question, self, "questions with answers")
        if any(not isinstance(cast(Question, row).row["question"], str) for row in rows):
            raise ValueError(f"{self.name} frames questions of plain text only, but some are conversations.")

    def view(self, row: EvaluationRow, rng: random.Random) -> EvaluationRow | None:
        """The framed question."""
        return _asked(row, rng.choice(self.frames).replace("{}", str(cast(Question, row).row["question"])))


class ParaphrasedQuestions(RowViews):
    """The question in the words of the column ``paraphrased_question``; rows without it have no view."""

    def check(self, rows: Sequence[EvaluationRow]) -> None:
        """Check that the rows are questions, of which some have a paraphrase."""
        check_kind(rows, Question, self, "questions with answers")
        if not any(cast(Question, row).row.get("paraphrased_question") for row in rows):
            raise ValueError(f"{self.name} needs rows with a paraphrased_question. Accepted without: QuestionFrames().")

    def view(self, row: EvaluationRow, rng: random.Random) -> EvaluationRow | None:
        """The paraphrased question."""
        text = cast(Question, row).row.get("paraphrased_question")
        return _asked(row, text) if text else None


def _asked(row: EvaluationRow, text: str) -> EvaluationRow:
    assert isinstance(row, Question)
    return Question(cast(Row, {**row.row, "question": text}))
