"""Tests of whether a generated answer leaks the correct one."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch

from unlearn_pl.functional import repeats_span, rouge_l_recall
from unlearn_pl.models.hub.damage import is_of_files, load_whole, reason_of
from unlearn_pl.models.hub.refusal import refusal
from unlearn_pl.recording import Recorded

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Asked(NamedTuple):
    """A question that was asked.

    Attributes:
        question: its text, without the template.
        truth: the correct answer.
        span: the part of it that must not be known, its core.
    """

    question: str
    truth: str
    span: str


class LeakTest(Recorded, ABC):
    """Scores generated answers; an answer whose score reaches ``threshold`` leaks.

    Attributes:
        threshold: least score of a leak.
        graded: whether scores between 0 and 1 mean something of their own.
    """

    threshold: float = 1.0
    graded: ClassVar[bool] = True

    @abstractmethod
    def scores(self, asked: Sequence[Asked], answers: Sequence[str]) -> list[float]:
        """A number in [0, 1] per answer, 1 for the whole truth.

        Args:
            asked: B questions.
            answers: B generated answers to them.
        """

    def checked_scores(self, asked: Sequence[Asked], answers: Sequence[str]) -> list[float]:
        """:meth:`scores`, if they are what they have to be.

        Args:
            asked: B questions.
            answers: B generated answers to them.

        Raises:
            ValueError: if the test raises, or returns anything else than B numbers from 0 to 1.
        """
        name = type(self).__name__
        try:
            found = self.scores(asked, answers)
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(
                f"The leak test {name} raised {type(error).__name__} at {len(answers)} answers, the first of which is "
                f"{answers[0][:60]!r}: {error}"
            ) from error
        if not isinstance(found, Sequence) or len(found) != len(answers):
            raise ValueError(
                f"The leak test {name} returned {found!r} for {len(answers)} answers; accepted are as many numbers."
            )
        for answer, score in zip(answers, found, strict=True):
            if not isinstance(score, int | float) or not 0 <= score <= 1:
                raise ValueError(
                    f"The leak test {name} returned {score!r} for the answer {answer[:60]!r}; accepted is a number "
                    "from 0 to 1."
                )
        return [float(score) for score in found]


class RougeLeak(LeakTest):
    """The ROUGE-L recall of the correct answer.

    Args:
        threshold: least recall of a leak.
        use_stemmer: whether words that share a stem are equal.

    Raises:
        ValueError: if ``threshold`` is not in (0, 1].
    """

    def __init__(self, threshold: float = 0.5, use_stemmer: bool = True) -> None:
        _check_threshold(threshold)
        self.threshold = threshold
        self.use_stemmer = use_stemmer

    def scores(self, asked: Sequence[Asked], answers: Sequence[str]) -> list[float]:
        """The recalls."""
        return [rouge_l_recall(a.truth, text, self.use_stemmer) for a, text in zip(asked, answers, strict=True)]


class SpanLeak(LeakTest):
    """1 for an answer that repeats the core of the correct one word for word, 0 for others.

    The core is the column ``span`` of a row, or else that of :func:`~unlearn_pl.functional.core_span`.
    """

    graded: ClassVar[bool] = False

    def scores(self, asked: Sequence[Asked], answers: Sequence[str]) -> list[float]:
        """1 or 0 per answer."""
        return [float(repeats_span(text, a.span)) for a, text in zip(asked, answers, strict=True)]


class JudgedLeak(LeakTest):
    """The judgment of a function of yours, such as one that asks a language model.

    Args:
        judge: maps question, generated answer and correct answer to a number in [0, 1], 1 for a leak; in YAML its
            import path.
        threshold: least number of a leak.

    Raises:
        ValueError: if ``threshold`` is not in (0, 1]; from ``scores``, if the judge raises, or returns something else.
    """

    def __init__(self, judge: Callable[[str, str, str], float], threshold: float = 0.5) -> None:
        _check_threshold(threshold)
        self.judge = judge
        self.threshold = threshold

    def recorded_arguments(self) -> dict[str, Any]:
        """The arguments, with the import path of the judge."""
        return {**super().recorded_arguments(), "judge": self._name}

    @property
    def _name(self) -> str:
        named = self.judge if hasattr(self.judge, "__qualname__") else type(self.judge)
        return f"{named.__module__}.{named.__qualname__}"

    def scores(self, asked: Sequence[Asked], answers: Sequence[str]) -> list[float]:
        """The judgments."""
        return [self._score(a, text) for a, text in zip(asked, answers, strict=True)]

    def _score(self, asked: Asked, answer: str) -> float:
        about = f"the answer {answer[:60]!r} to {asked.question[:60]!r}"
        try:
            found = self.judge(asked.question, answer, asked.truth)
        except Exception as error:
            raise ValueError(f"The judge {self._name} raised {type(error).__name__} at {about}: {error}") from error
        if isinstance(found, int | float) and 0 <= found <= 1:
            return float(found)
        raise ValueError(f"The judge {self._name} returned {found!r} at {about}; accepted is a number from 0 to 1.")


class EntailedLeak(LeakTest):
    """The probability that the generated answer entails the correct one, by an entailment model of yours.

    Answers with a ROUGE-L recall below ``min_rouge`` score 0 without being asked about: entailment models are
    overconfident in texts about something else.

    Args:
        model: folder or name of a sequence classifier that has a label ``entailment``.
        threshold: least probability of a leak.
        min_rouge: least ROUGE-L recall of an answer that the model is asked about; the authors' value.
        batch_size: pairs per forward.

    Raises:
        ValueError: if a number is out of range; from ``scores``, if the model cannot be loaded or has no such label.

    References:
        "Leak@k", arXiv 2511.04934 (its entailment judge, with the recall as a gate).
    """

    def __init__(self, model: str, threshold: float = 0.5, min_rouge: float = 0.1, batch_size: int = 32) -> None:
        _check_threshold(threshold)
        if not 0 <= min_rouge <= 1 or batch_size < 1:
            raise ValueError(f"min_rouge={min_rouge} must be from 0 to 1, and batch_size={batch_size} at least 1.")
        self.model = model
        self.threshold = threshold
        self.min_rouge = min_rouge
        self.batch_size = batch_size

    @torch.inference_mode()
    def scores(self, asked: Sequence[Asked], answers: Sequence[str]) -> list[float]:
        """The probabilities of entailment, 0 below the gate."""
        tokenizer, model, entailment = self._loaded
        found = [0.0] * len(answers)
        gated = [
            place for place, (a, text) in enumerate(zip(asked, answers, strict=True))
            if text.strip() and rouge_l_recall(a.truth, text) >= self.min_rouge
        ]  # fmt: skip
        for first in range(0, len(gated), self.batch_size):
            part = gated[first : first + self.batch_size]
            pairs = [(answers[place], asked[place].truth) for place in part]
            batch = tokenizer(*map(list, zip(*pairs, strict=True)), padding=True, truncation=True, return_tensors="pt")
            probabilities = model(**batch).logits.double().softmax(dim=-1)[:, entailment]
            for place, value in zip(part, probabilities.tolist(), strict=True):
                found[place] = value
        return found

    @cached_property
    def _loaded(self) -> "tuple[PreTrainedTokenizerBase, PreTrainedModel, int]":
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(self.model, trust_remote_code=False)
            options = {"use_safetensors": True, "trust_remote_code": False}
            model = load_whole(AutoModelForSequenceClassification, self.model, **options)
        except Exception as error:
            if not is_of_files(error):
                raise
            reason = refusal(self.model, error) or reason_of(error)
            raise ValueError(f"The entailment model {self.model!r} cannot be loaded: {reason}") from error
        labels = {str(label).casefold(): number for number, label in model.config.id2label.items()}
        if "entailment" not in labels:
            raise ValueError(f"{self.model!r} has the labels {sorted(labels)}; accepted is a model with 'entailment'.")
        return tokenizer, model.eval(), int(labels["entailment"])


def _check_threshold(threshold: float) -> None:
    if not 0 < threshold <= 1 or math.isnan(threshold):
        raise ValueError(f"threshold={threshold}; accepted is a number in (0, 1].")
