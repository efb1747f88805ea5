"""The paraphrases that come with the data."""

from collections.abc import Sequence

from unlearn_pl.data import Row
from unlearn_pl.robustness.paraphrasers.paraphraser import Paraphraser
from unlearn_pl.robustness.target import Subject


class DataSetParaphrases(Paraphraser):
    """The column ``paraphrased_question``, as TOFU's perturbed files and the synthetic authors have it."""

    @property
    def name(self) -> str:
        """``data set``."""
        return "data set"

    def check(self, rows: Sequence[Row]) -> None:
        """Refuse rows without the column.

        Raises:
            ValueError: naming what works without it.
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
