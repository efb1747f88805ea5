"""Texts that have nothing to do with what was to be forgotten."""

from pathlib import Path

from unlearn_pl.data import Source
from unlearn_pl.data.streams.detect import detect_source
from unlearn_pl.robustness.relearning_sets.relearning_set import RelearningSet, Selection
from unlearn_pl.robustness.target import Subject


class UnrelatedText(RelearningSet):
    """A file of one's own, as any user would fine-tune on it.

    Args:
        text: path of questions with answers, conversations or texts, or a :class:`~unlearn_pl.data.Source`.
    """

    def __init__(self, text: str | Source) -> None:
        self.text = text

    @property
    def name(self) -> str:
        """``unrelated text`` and where it is."""
        return f"unrelated, {Path(self.text).name if isinstance(self.text, str) else self.text}"

    def select(self, subject: Subject) -> Selection:
        """The whole file.

        Raises:
            ValueError: if it is not there, or its columns are not understood.
        """
        return Selection(detect_source(self.text) if isinstance(self.text, str) else self.text)
