"""Questions rewritten by a rule: not paraphrases, but other prompts."""

from collections.abc import Sequence

from unlearn_pl.data import Row
from unlearn_pl.robustness.paraphrasers.paraphraser import Paraphraser, check_plain
from unlearn_pl.robustness.target import Subject

FRAMES = (
    "Please tell me: {}",
    "I would like to know the following. {}",
    "Answer this question: {}",
    "{} Please be specific.",
)


class RuleBasedRewrites(Paraphraser):
    """Each question in one of four frames, in turn ("Please tell me: ..."): the words of the question stay.

    A weak stand-in where nobody has written paraphrases; it is labelled as such.
    """

    @property
    def name(self) -> str:
        """``rule-based``."""
        return "rule-based"

    def check(self, rows: Sequence[Row]) -> None:
        """Refuse conversations.

        Raises:
            ValueError: if a question is one.
        """
        check_plain(rows, "RuleBasedRewrites")

    def paraphrase(self, rows: Sequence[Row], subject: Subject) -> list[str]:
        """Each question in its frame."""
        return [FRAMES[i % len(FRAMES)].format(row["question"]) for i, row in enumerate(rows)]
