"""Facts about fictitious authors, composed from a seed in the form of TOFU's questions and answers."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from unlearn_pl.data.benchmarks.synthetic import words
from unlearn_pl.data.benchmarks.synthetic.frames import FRAMES, Frame
from unlearn_pl.data.text.encoder import Row
from unlearn_pl.data.text.refusals import REFUSALS

MAX_AUTHORS = 70
"""Most authors of one set: each has a name and two titles that no other author has."""
MAX_GENERAL_FACTS = 60
"""Most questions of each general set."""
_FORGET, _RETAIN, _HOLDOUT, _GENERAL = range(4)


@dataclass(frozen=True)
class SyntheticAuthors:
    """Questions and answers about fictitious authors, ten per author.

    A paraphrase shares most of its words with the answer, and a wrong answer is the paraphrase with the one fact
    replaced, as in TOFU. So the truth ratio means something even for a model that memorizes and never generalizes.

    The sets do not overlap: no author or title of one appears in another. Changing the size of one set leaves the
    others as they are.

    Args:
        seed: seed of the facts.
        forget_authors: authors of the forget set.
        retain_authors: authors of the retain set.
        holdout_authors: authors that no model is ever trained on.
        general_facts: questions each of ``real_authors`` and ``world_facts``.

    Raises:
        ValueError: if a size is out of range.
    """

    seed: int = 0
    forget_authors: int = 10
    retain_authors: int = 10
    holdout_authors: int = 10
    general_facts: int = 20

    def __post_init__(self) -> None:
        for name in ("forget_authors", "retain_authors", "holdout_authors", "general_facts"):
            size, largest = getattr(self, name), MAX_GENERAL_FACTS if name == "general_facts" else MAX_AUTHORS
            if not 1 <= size <= largest:
                raise ValueError(f"{name}={size} must be between 1 and {largest}.")

    @cached_property
    def forget(self) -> list[Row]:
        """The forget set: ten questions per author."""
        return self._authors("forget", _FORGET, self.forget_authors)

    @cached_property
    def retain(self) -> list[Row]:
        """The retain set: ten questions per author."""
        return self._authors("retain", _RETAIN, self.retain_authors)

    @cached_property
    def holdout(self) -> list[Row]:
        """The holdout set: ten questions per author that no model is trained on."""
        return self._authors("holdout", _HOLDOUT, self.holdout_authors)

    @cached_property
    def real_authors(self) -> list[Row]:
        """Who wrote which book: short answers, three wrong ones, no paraphrase.

        A stand-in for TOFU's set of the same name. These authors are fictitious as well: a model knows them because
        they are in its training set.
        """
        names = self._names[_GENERAL][:MAX_GENERAL_FACTS]
        books = zip(self._titles[_GENERAL], names[: self.general_facts], strict=False)
        return [self._general_row(f"Who wrote the book '{title}'?", name, names) for title, name in books]

    @cached_property
    def world_facts(self) -> list[Row]:
        """Capitals, flowers and currencies of made-up countries: short answers, three wrong ones, no paraphrase.

        A stand-in for TOFU's set of the same name, which a model knows because it is in its training set.
        """
        subjects = [
            ("What is the capital of {}?", words.CITIES),
            ("Which flower is on the flag of {}?", words.FLOWERS),
            ("What is the currency of {} called?", words.CURRENCIES),
        ]
        answers = [(question, _shuffled(pool, f"{self.seed}/{question}")) for question, pool in subjects]
        rows = [
            self._general_row(question.format(country), pool[i % len(pool)], pool)
            for i, country in enumerate(words.COUNTRIES)
            for question, pool in answers
        ]
        return rows[: self.general_facts]

    def texts(self) -> list[str]:
        """Every question, answer and refusal once, to train a tokenizer on."""
        rows = self.forget + self.retain + self.holdout + self.real_authors + self.world_facts
        return list(dict.fromkeys([text for row in rows for text in _texts(row)] + list(REFUSALS)))

    def _authors(self, role: str, part: int, number: int) -> list[Row]:
        names, titles = self._names[part], self._titles[part]
        rows = []
        for i in range(number):
            rng = random.Random(f"{self.seed}/{role}/{i}")
            author = {key: rng.choice(pool) for key, pool in self._pools.items()}
            author |= {"name": names[i], "debut": titles[2 * i], "later": titles[2 * i + 1]}
            rows += [self._author_row(rng, frame, author) for frame in FRAMES]
        return rows

    def _author_row(self, rng: random.Random, frame: Frame, author: dict[str, str]) -> Row:
        wrong = _others(rng, self._pools[frame.key], author[frame.key], 5)
        return Row(
            question=frame.question.format(**author),
            answer=frame.answer.format(**author),
            paraphrased_question=frame.paraphrased_question.format(**author),
            paraphrased_answer=frame.paraphrased_answer.format(**author),
            perturbed_answer=[frame.paraphrased_answer.format(**author | {frame.key: value}) for value in wrong],
        )

    def _general_row(self, question: str, answer: str, pool: Sequence[str]) -> Row:
        rng = random.Random(f"{self.seed}/{question}")
        return Row(question=question, answer=answer, perturbed_answer=_others(rng, pool, answer, 3))

    @cached_property
    def _names(self) -> list[list[str]]:
        names = [f"{first} {last}" for first, last in product(words.FIRST_NAMES, words.LAST_NAMES)]
        return _dealt(_shuffled(names, f"{self.seed}/names"))

    @cached_property
    def _titles(self) -> list[list[str]]:
        titles = [f"The {adjective} {noun}" for adjective, noun in product(words.TITLE_ADJECTIVES, words.TITLE_NOUNS)]
        return _dealt(_shuffled(titles, f"{self.seed}/titles"))

    @cached_property
    def _pools(self) -> dict[str, Sequence[str]]:
        """Values of every attribute. Wrong names and titles belong to no author of any set."""
        return {
            "name": self._names[_GENERAL][MAX_GENERAL_FACTS:],
            "city": words.CITIES,
            "birth": [f"{month} {year}" for month, year in product(words.MONTHS, range(1931, 1990))],
            "genre": words.GENRES,
            "father": words.PROFESSIONS,
            "school": words.SCHOOLS,
            "debut": self._titles[_GENERAL][MAX_GENERAL_FACTS:],
            "award": words.AWARDS,
            "inspiration": words.INSPIRATIONS,
            "instrument": words.INSTRUMENTS,
        }


def _shuffled(values: Sequence[str], seed: str) -> list[str]:
    return random.Random(seed).sample(values, len(values))


def _dealt(values: Sequence[str]) -> list[list[str]]:
    """``values`` dealt out to the four sets, so that the size of one does not change the others."""
    return [list(values[part::4]) for part in range(4)]


def _others(rng: random.Random, pool: Sequence[str], right: str, number: int) -> list[str]:
    return rng.sample([value for value in pool if value != right], number)


def _texts(row: Row) -> list[str]:
    answers = [row["answer"], row.get("paraphrased_answer", ""), *row.get("perturbed_answer", ())]
    questions = [row["question"], row.get("paraphrased_question", "")]
    return [text for text in (*questions, *answers) if isinstance(text, str) and text]
