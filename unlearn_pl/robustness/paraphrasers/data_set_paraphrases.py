"""Paraphrases from the data set."""

from collections.abc import Sequence

from unlearn_pl.data import Row
from unlearn_pl.robustness.paraphrasers.paraphraser import Paraphraser
from unlearn_pl.robustness.target import Subject


class DataSetParaphrases(Paraphraser):
    """The column ``paraphrased_question``, which TOFU's perturbed files and the synthetic authors have."""

    @property
    def name(self) -> str:
        """``data set``."""
        return "data set"

    def check(self, rows: Sequence[Row]) -> None:
        """Check that all rows have the column.

        Raises:
            ValueError: if one lacks it; the message names alternatives.
        """
        missing = sum(not row.get("paraphrased_question") for row in rows)
        if missing:
            raise ValueError(
                f"{missing} of {len(rows)} questions have no paraphrased_question. Accepted without it: "
                "ModelParaphrases(model=...), or RuleBasedRewrites()."
            )

    def paraphrase(self, rows: Sequence[Row], subject: Subject) -> list[str]:
        """The column."""
        return [row["paraphrased_question"] for row in rows]
