"""Padded batches of tokenized examples. Masks come from lengths, since the pad token may also be a real token."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unlearn_pl.data.text.template import Example
from unlearn_pl.types import IGNORE_INDEX, PromptBatch, TokenBatch


@dataclass(frozen=True)
class Prompt:
    """A tokenized question for the model to answer.

    Attributes:
        input_ids: tokens up to the answer.
        index: position of the example in its dataset.
        answer: the expected answer, which the generated one is compared with.
        draft: tokens of the correct answer, as far as they are known.
    """

    input_ids: list[int]
    index: int
    answer: str
    draft: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.input_ids)


def collate_examples(examples: Sequence[Example], pad_id: int) -> TokenBatch:
    """A right-padded batch; it has ``choice``, ``target`` and ``weight`` if the examples have them.

    Weights that are all 1 are left out.
    """
    batch = TokenBatch(
        input_ids=_pad_right([example.input_ids for example in examples], pad_id),
        attention_mask=_pad_right([[1] * len(example) for example in examples], 0),
        labels=_pad_right([example.labels for example in examples], IGNORE_INDEX),
        index=torch.tensor([example.index for example in examples]),
    )
    choices = [example.choice for example in examples if example.choice is not None]
    if choices:
        batch["choice"] = torch.tensor(choices)
    targets = [example.target for example in examples if example.target is not None]
    if targets:
        batch["target"] = torch.tensor(targets)
    if any(weight != 1 for example in examples for weight in example.weights or ()):
        batch["weight"] = _padded_weights(examples, batch["labels"])
    return batch


def collate_prompts(prompts: Sequence[Prompt], pad_id: int) -> PromptBatch:
    """A left-padded batch, so that generation continues right after every prompt."""
    return PromptBatch(
        prompt_ids=_pad_left([prompt.input_ids for prompt in prompts], pad_id),
        prompt_mask=_pad_left([[1] * len(prompt) for prompt in prompts], 0),
        index=torch.tensor([prompt.index for prompt in prompts]),
        answer=[prompt.answer for prompt in prompts],
        draft_ids=_pad_right([prompt.draft for prompt in prompts], pad_id),
        draft_mask=_pad_right([[1] * len(prompt.draft) for prompt in prompts], 0),
    )


def _padded_weights(examples: Sequence[Example], labels: Tensor) -> Tensor:
    """``[B, T]`` fp32 weights of ``labels``; 1 where an example has none."""
    weights = torch.ones(labels.shape)
    for row, example in enumerate(examples):
        if example.weights is not None:
            weights[row, example.prompt_length : len(example)] = torch.tensor(example.weights)
    return weights


def _pad_right(rows: Sequence[list[int]], value: int) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [value] * (width - len(row)) for row in rows], dtype=torch.long)


def _pad_left(rows: Sequence[list[int]], value: int) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[value] * (width - len(row)) + row for row in rows])
