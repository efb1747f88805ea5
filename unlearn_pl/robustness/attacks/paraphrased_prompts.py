"""Paraphrase attack: the same questions in other words."""

from collections.abc import Sequence
from typing import cast

from unlearn_pl.data import EvaluationRow, Row
from unlearn_pl.data.evaluation.evaluation_row import Question
from unlearn_pl.robustness.attacks.prompt_attack import PromptAttack
from unlearn_pl.robustness.paraphrasers.data_set_paraphrases import DataSetParaphrases
from unlearn_pl.robustness.paraphrasers.paraphraser import Paraphraser
from unlearn_pl.robustness.questions import questions
from unlearn_pl.robustness.target import Subject


class ParaphrasedPrompts(PromptAttack):
    """Leakage of the same answers to paraphrased questions.

    Args:
        paraphraser: source of the paraphrases; the data set by default.
    """

    def __init__(self, paraphraser: Paraphraser | None = None) -> None:
        self.paraphraser = paraphraser or DataSetParaphrases()

    @property
    def name(self) -> str:
        """The attack and the source of the paraphrases."""
        return f"ParaphrasedPrompts ({self.paraphraser.name})"

    def check(self, subject: Subject) -> None:
        """Check that the forget questions can be paraphrased."""
        self.paraphraser.check(questions(subject.forget, self.name))

    def rows(self, subject: Subject) -> Sequence[EvaluationRow]:
        """The paraphrased questions, with unchanged answers."""
        rows = questions(subject.forget, self.name)[: subject.data.max_eval_examples]
        asked = self.paraphraser.paraphrase(rows, subject)
        return [Question(cast(Row, {**row, "question": text})) for row, text in zip(rows, asked, strict=True)]
