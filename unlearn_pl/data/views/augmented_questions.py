"""Views of questions with other letters: random capitals, words with their inner letters in disorder, typing errors."""

import random
import re
from collections.abc import Sequence
from typing import cast

from unlearn_pl.data.evaluation.evaluation_row import EvaluationRow, Question
from unlearn_pl.data.text.encoder import Row
from unlearn_pl.data.views.row_views import RowViews, check_kind

_WORD = re.compile(r"\w{4,}")


class AugmentedQuestions(RowViews):
    """The question with random capitals, disordered letters within long words, and neighbors of printable characters.

    An attacker asks with many of them and takes the best answer: ``ViewAttack(views=AugmentedQuestions(),
    candidates=n)`` is the attack by the best of n.

    Args:
        disorder: probability that the letters of a word of four or more, the first and the last one apart, change their
            order.
        capitals: probability that a letter changes between small and capital.
        noise: probability that a character of ASCII becomes the next or the previous one.

    Raises:
        ValueError: if a probability is not in [0, 1], or all are 0.

    References:
        Hughes et al., Best-of-N Jailbreaking, 2024, arXiv 2412.03556 (there, answers are sampled as well).
    """

    def __init__(self, disorder: float = 0.6, capitals: float = 0.6, noise: float = 0.06) -> None:
        given = {"disorder": disorder, "capitals": capitals, "noise": noise}
        if not all(0 <= value <= 1 for value in given.values()) or not any(given.values()):
            raise ValueError(f"{given}; accepted are probabilities in [0, 1], not all of them 0.")
        self.disorder = disorder
        self.capitals = capitals
        self.noise = noise

    def check(self, rows: Sequence[EvaluationRow]) -> None:
        """Check that the rows are questions of plain text."""
        check_kind(rows, Question, self, "questions with answers")
        if any(not isinstance(cast(Question, row).row["question"], str) for row in rows):
            raise ValueError(f"{self.name} rewrites questions of plain text only, but some are conversations.")

    def view(self, row: EvaluationRow, rng: random.Random) -> EvaluationRow | None:
        """The question in other letters."""
        assert isinstance(row, Question)
        text = _WORD.sub(lambda word: self._disordered(word.group(), rng), str(row.row["question"]))
        text = "".join(self._typed(character, rng) for character in text)
        return Question(cast(Row, {**row.row, "question": text}))

    def _disordered(self, word: str, rng: random.Random) -> str:
        if rng.random() >= self.disorder:
            return word
        inner = list(word[1:-1])
        rng.shuffle(inner)
        return word[0] + "".join(inner) + word[-1]

    def _typed(self, character: str, rng: random.Random) -> str:
        if rng.random() < self.capitals:
            character = character.swapcase()
        if "!" <= character <= "~" and rng.random() < self.noise:
            near = chr(ord(character) + rng.choice((-1, 1)))
            character = near if "!" <= near <= "~" else character
        return character
