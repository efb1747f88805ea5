"""Base class of paraphrasers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from unlearn_pl.data import Row
from unlearn_pl.recording import Recorded
from unlearn_pl.robustness.target import Subject


class Paraphraser(Recorded, ABC):
    """Rewrites questions in other words."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name in tables."""

    def check(self, rows: Sequence[Row]) -> None:
        """Check that the rows can be paraphrased, without loading a model.

        Raises:
            ValueError: if they cannot; the message names what is missing.
        """

    @abstractmethod
    def paraphrase(self, rows: Sequence[Row], subject: Subject) -> list[str]:
        """A paraphrase of each question.

        Args:
            rows: questions with answers.
            subject: the model under attack, for its seed and devices.
        """


def check_plain(rows: Sequence[Row], name: str) -> None:
    """Check that all questions are plain text.

    Args:
        rows: questions with answers.
        name: name of the paraphraser, for the error message.

    Raises:
        ValueError: if a question is a conversation.
    """
    if any(not isinstance(row["question"], str) for row in rows):
        raise ValueError(f"{name} rewrites questions of plain text only, but some are conversations.")
