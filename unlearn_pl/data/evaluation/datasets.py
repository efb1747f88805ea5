"""Tokenized evaluation splits: teacher-forced candidates, and prompts to be continued."""

from collections.abc import Mapping
from dataclasses import replace

from torch.utils.data import Dataset

from unlearn_pl.data.collate import Prompt
from unlearn_pl.data.evaluation.evaluation_row import EvaluationRows, load_split
from unlearn_pl.data.text.encoder import Encoder
from unlearn_pl.data.text.template import Example


class CandidateDataset(Dataset[Example]):
    """One example per candidate answer of every row, the shortest first.

    Of a question, candidate 0 is the answer, 1 its paraphrase (where there is one), 2 and higher are wrong answers.

    Args:
        name: name of the evaluation split.
        rows: its rows.
        encoder: tokenizes them.
    """

    def __init__(self, name: str, rows: EvaluationRows, encoder: Encoder) -> None:
        examples = [
            replace(example, index=index)
            for index, row in enumerate(load_split(rows, f"split {name!r}"))
            for example in row.examples(encoder, f"row {index} of the split {name!r}")
        ]
        self._examples = sorted(examples, key=len)

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, position: int) -> Example:
        return self._examples[position]

    @property
    def longest_sequence(self) -> int:
        """Tokens in the longest example."""
        return len(self._examples[-1])

    def right_answers(self) -> list[Example]:
        """Candidate 0 of every row, the shortest first."""
        return [example for example in self._examples if not example.choice]

    def first_candidates(self) -> dict[int, list[int]]:
        """Index of every row to the tokens of its candidate 0, the prompt included."""
        return {example.index: example.input_ids for example in self.right_answers()}


class PromptDataset(Dataset[Prompt]):
    """The prompts of an evaluation split; some kinds of rows have none.

    The prompts with the shortest correct answers come first, because generated answers tend to be as long.

    Args:
        rows: the split's rows.
        encoder: tokenizes them.
        right: index of the row to the tokens of prompt and correct answer, which speed up generation.
    """

    def __init__(self, rows: EvaluationRows, encoder: Encoder, right: Mapping[int, list[int]] | None = None) -> None:
        prompts = [
            Prompt(ids, index, row.expected(), _continuation(ids, (right or {}).get(index, [])))
            for index, row in enumerate(load_split(rows, "split"))
            if (ids := row.prompt(encoder)) is not None
        ]
        self._prompts = sorted(prompts, key=lambda prompt: (len(prompt.draft), len(prompt)))

    def __len__(self) -> int:
        return len(self._prompts)

    def __getitem__(self, position: int) -> Prompt:
        return self._prompts[position]


def _continuation(prompt: list[int], whole: list[int]) -> list[int]:
    """What follows ``prompt`` in ``whole``; nothing if ``whole`` does not begin with it."""
    return whole[len(prompt) :] if whole[: len(prompt)] == prompt else []
