"""Ways to put a question in other words."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from unlearn_pl.data import Row
from unlearn_pl.recording import Recorded
from unlearn_pl.robustness.target import Subject


class Paraphraser(Recorded, ABC):
    """Puts questions in other words."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What tables call it: who has found the other words."""

    def check(self, rows: Sequence[Row]) -> None:
        """Refuse rows that cannot be paraphrased, without loading a model.

        Raises:
            ValueError: naming what is missing.
        """

    @abstractmethod
    def paraphrase(self, rows: Sequence[Row], subject: Subject) -> list[str]:
        """A paraphrase of each question.

        Args:
            rows: questions with answers.
            subject: the model under attack, whose seed and devices apply.
        """


def check_plain(rows: Sequence[Row], name: str) -> None:
    """Refuse conversations.

    Args:
        rows: questions with answers.
        name: of the class that rewrites them.

    Raises:
        ValueError: if a question is a conversation.
    """
    if any(not isinstance(row["question"], str) for row in rows):
        raise ValueError(f"{name} rewrites questions of plain text; some are conversations.")
