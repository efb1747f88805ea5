"""Hidden states of questions with correct and with wrong answers."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor, nn

from unlearn_pl.data import EvaluationRow, Example
from unlearn_pl.data.collate import collate_examples
from unlearn_pl.data.evaluation.evaluation_row import Question
from unlearn_pl.data.sampling import stable_hash
from unlearn_pl.models import decoder_layers
from unlearn_pl.models.layers.states import states_in
from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.robustness.questions import questions
from unlearn_pl.robustness.target import Subject

BORROWED = 3
"""Answers to other questions that stand in for wrong ones."""


def with_wrong_answers(rows: Sequence[EvaluationRow], subject: Subject, name: str) -> list[list[Example]]:
    """For every question, the correct answer and wrong ones, tokenized.

    The wrong answers are those of the row, or, where it has none, answers to other questions of the split, drawn with
    the seed of the audit. A question without either is left out.

    Args:
        rows: rows of a split.
        subject: the model under attack, for its tokenizer and seed.
        name: what needs them, for messages.

    Raises:
        ValueError: if the rows are not questions, or no question has a wrong answer.
    """
    asked = questions(rows, name)
    correct = [Question(row).expected() for row in asked]
    found = []
    for i, row in enumerate(asked):
        wrong = list(row.get("perturbed_answer", ())) or _borrowed(correct, i, subject.seed)
        where = f"row {i}, for {name}"
        if wrong:
            found.append([subject.encoder.example(row["question"], answer, where) for answer in (correct[i], *wrong)])
    if not found:
        raise ValueError(
            f"{name} tells correct answers from wrong ones, and none of the {len(asked)} rows has a wrong answer: "
            "there is no column perturbed_answer, and no other answer in the split."
        )
    return found


def _borrowed(correct: Sequence[str], i: int, seed: int) -> list[str]:
    others = sorted({answer for answer in correct if answer != correct[i]})
    rng = random.Random(stable_hash("wrong answers", seed, i))
    return rng.sample(others, min(BORROWED, len(others)))


@contextmanager
def _kept(model: nn.Module, layers: Sequence[int], states: dict[int, Tensor]) -> Iterator[None]:
    """Within the context, every forward leaves the outputs of the ``layers`` in ``states``.

    Read from the layers themselves, because entries of ``hidden_states`` are counted in several ways.
    """

    def keep(module: nn.Module, given: Any, output: Any, layer: int) -> None:
        states[layer] = states_in(output)

    modules = decoder_layers(model)
    hooks = [modules[layer - 1].register_forward_hook(partial(keep, layer=layer)) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def answer_states(model: nn.Module, examples: Sequence[Example], layers: Sequence[int], subject: Subject) -> Tensor:
    """Mean hidden state over the tokens of each answer, ``[N, L, D]`` in fp32 on the CPU.

    Args:
        model: a causal language model of transformers, on its device.
        examples: N tokenized questions with an answer.
        layers: L layers, counted from 1, whose outputs are read.
        subject: for batch size and precision.
    """
    device, size = next(model.parameters()).device, subject.data.eval_batch_size
    found = []
    states: dict[int, Tensor] = {}
    with evaluation_mode(model), subject.forward_context():
        for start in range(0, len(examples), size):
            part = collate_examples(examples[start : start + size], subject.tokenizer.pad_token_id or 0)
            batch = move_data_to_device(part, device)
            with _kept(model, layers, states):
                model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
            scored = (batch["labels"] != -100).unsqueeze(-1)
            sums = [(states[layer] * scored).double().sum(dim=1) / scored.sum(dim=1) for layer in layers]
            found.append(torch.stack(sums, dim=1).float().cpu())
    return torch.cat(found)
