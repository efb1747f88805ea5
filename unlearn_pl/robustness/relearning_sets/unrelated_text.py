"""Texts that are unrelated to the forget set."""

from pathlib import Path

from unlearn_pl.data import Source
from unlearn_pl.data.streams.detect import detect_source
from unlearn_pl.robustness.relearning_sets.relearning_set import RelearningSet, Selection
from unlearn_pl.robustness.target import Subject


class UnrelatedText(RelearningSet):
    """The user's own fine-tuning data.

    Args:
        text: path of a file of questions with answers, conversations or texts, or a :class:`~unlearn_pl.data.Source`.
    """

    def __init__(self, text: str | Source) -> None:
        self.text = text

    @property
    def name(self) -> str:
        """``unrelated`` and the name of the file."""
        return f"unrelated, {Path(self.text).name if isinstance(self.text, str) else self.text}"

    def select(self, subject: Subject) -> Selection:
        """The whole file.

        Raises:
            ValueError: if it is missing, or its columns are not recognized.
        """
        return Selection(detect_source(self.text) if isinstance(self.text, str) else self.text)
