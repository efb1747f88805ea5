"""Rule-based rewrites of questions: not paraphrases, but different prompts."""

from collections.abc import Sequence

from unlearn_pl.data import Row
from unlearn_pl.data.views.question_views import FRAMES
from unlearn_pl.robustness.paraphrasers.paraphraser import Paraphraser, check_plain
from unlearn_pl.robustness.target import Subject


class RuleBasedRewrites(Paraphraser):
    """Each question in one of four frames, in turn ("Please tell me: ..."); the question itself is unchanged.

    A weak fallback when no paraphrases are available; results are labeled accordingly.
    """

    @property
    def name(self) -> str:
        """``rule-based``."""
        return "rule-based"

    def check(self, rows: Sequence[Row]) -> None:
        """Check that all questions are plain text.

        Raises:
            ValueError: if one is a conversation.
        """
        check_plain(rows, "RuleBasedRewrites")

    def paraphrase(self, rows: Sequence[Row], subject: Subject) -> list[str]:
        """Each question in its frame."""
        return [FRAMES[i % len(FRAMES)].format(row["question"]) for i, row in enumerate(rows)]
