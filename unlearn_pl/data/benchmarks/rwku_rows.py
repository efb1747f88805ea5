"""Evaluation rows of RWKU's tables."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from unlearn_pl.data.evaluation.cloze_choice import ClozeChoice
from unlearn_pl.data.evaluation.evaluation_row import Question
from unlearn_pl.data.evaluation.multiple_choice import MultipleChoice
from unlearn_pl.data.evaluation.passage import Passage
from unlearn_pl.data.io.record import BadRowError, Record, check_columns, text_of
from unlearn_pl.data.text.encoder import Row

T = TypeVar("T")
LEVELS = ("forget_level1", "forget_level2", "forget_level3", "neighbor_level1", "neighbor_level2")
"""Tables of questions about the persons, and about what is close to them."""


def probe(row: Record) -> Question:
    """A sentence to complete, or a question: columns ``query``, ``answer`` and ``level``; ``type`` of level 3."""
    query = text_of(row, "query")
    check_columns(row, ("level", "type") if str(row.get("level")) == "3" else ("level",))
    kind = str(row.get("type", ""))
    if str(row["level"]) == "1":
        asked = f"Please complete the blank in the following question.\nQuestion: {query}\nAnswer:"
    elif kind == "affirmative suffix":  # which the answer is to continue
        asked = f"Please briefly answer the following question.\nQuestion: {query}"
    elif kind == "incontext learning":  # a list of questions with answers
        asked = f"Please briefly answer the following question.\n{query}\nAnswer:"
    else:
        asked = f"Please briefly answer the following question.\nQuestion: {query}\nAnswer:"
    return Question(Row(question=asked, answer=text_of(row, "answer")))


def topic(row: Record) -> MultipleChoice:
    """A question of MMLU: columns ``question``, ``choices``, ``answer`` (a number) and ``task``, its subject."""
    check_columns(row, ("choices", "answer", "task"))
    choices, answer = row["choices"], row["answer"]
    if not isinstance(choices, list) or not isinstance(answer, int):
        raise BadRowError(f"accepted are a list as 'choices' and a number as 'answer', not {choices!r} and {answer!r}")
    subject = str(row["task"]).replace("_", " ")
    return _checked(lambda: MultipleChoice(text_of(row, "question"), choices, answer, subject))


def reasoning(row: Record) -> Question:
    """A task of BBH behind its worked examples: columns ``cot``, ``question`` and ``answer``."""
    asked = (
        f"{text_of(row, 'cot').strip()}\n\nFollowing the examples, answer the question and end with 'So the answer is'."
        f"\nQ: {text_of(row, 'question')}\nA:"
    )
    return Question(Row(question=asked, answer=_answers(row, "answer")))


def truthful(row: Record) -> ClozeChoice:
    """A question of TruthfulQA whose one true answer must be the most likely: ``question`` and ``mc1_targets``."""
    check_columns(row, ("mc1_targets",))
    targets = row["mc1_targets"]
    given = targets if isinstance(targets, Mapping) else {}
    choices, labels = given.get("choices"), given.get("labels")
    if not isinstance(choices, list) or not isinstance(labels, list) or labels.count(1) != 1:
        raise BadRowError(f"accepted as 'mc1_targets' are choices and labels, one of which is 1, not {targets!r}")
    prompt = f"Q: {text_of(row, 'question')}\nA:"
    return _checked(lambda: ClozeChoice(prompt, choices, labels.index(1), by_length=False))


def fact(row: Record) -> Question:
    """A question of TriviaQA: columns ``question`` and ``answers``, of which one suffices."""
    asked = f"Please briefly answer the following question.\nQ: {text_of(row, 'question')}\nA:"
    return Question(Row(question=asked, answer=_answers(row, "answers")))


def passage(row: Record) -> Passage:
    """A text for membership inference: column ``text``."""
    return Passage(text_of(row, "text"), whole=False)


def _answers(row: Record, column: str) -> list[str]:
    check_columns(row, (column,))
    given = row[column]
    answers = [given] if isinstance(given, str) else given
    if not isinstance(answers, list) or not answers or not all(isinstance(a, str) and a.strip() for a in answers):
        raise BadRowError(f"the column {column!r} has {given!r}; accepted is text, or a list of texts")
    return answers


def _checked(make: Callable[[], T]) -> T:
    try:
        return make()
    except BadRowError:
        raise
    except ValueError as error:
        raise BadRowError(str(error)) from error
