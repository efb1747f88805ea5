"""Letters that are scored together, against each by itself."""

import pytest
import torch

from tests.models.language.test_forward import make_batch
from unlearn_pl.models import LoRA, shared_context_log_probs
from unlearn_pl.types import IGNORE_INDEX

CONTEXTS = [[5, 6, 7], [5, 6], [9], [5, 6, 7, 11, 4]]
LETTERS = [[20, 21, 22, 23], [20, 21], [20, 21, 22], [7, 4, 20]]  # 7: (5, 6) with it is the first context


def letters_batch(order=None):
    rows = [(context, letter) for context, letters in zip(CONTEXTS, LETTERS, strict=True) for letter in letters]
    rows = rows if order is None else [rows[i] for i in order]
    ids = torch.full((len(rows), 9), 2)
    attention, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORE_INDEX)
    for row, (context, letter) in enumerate(rows):
        ids[row, : len(context) + 1] = torch.tensor([*context, letter])
        attention[row, : len(context) + 1] = 1
        labels[row, len(context)] = letter
    batch = {"input_ids": ids, "attention_mask": attention, "labels": labels, "index": torch.arange(len(rows))}
    return batch, rows


@pytest.mark.parametrize("order", [None, [11, 3, 7, 0, 8, 1, 2, 10, 4, 9, 5, 6]])
@pytest.mark.parametrize("adapters", [False, True])
def test_every_letter_has_its_own_probability(tiny_model, order, adapters):
    model = tiny_model(dtype=torch.float64).eval()
    batch, rows = letters_batch(order)
    expected = [model(torch.tensor([context])).logits[0, -1].log_softmax(-1)[letter].item() for context, letter in rows]
    model = LoRA(r=2).apply(model).eval() if adapters else model
    sizes = []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: sizes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    found = shared_context_log_probs(model, batch)
    assert found.tolist() == pytest.approx(expected, rel=1e-10)
    assert sizes == [4]


def test_what_is_no_choice_of_letters_is_left_to_others(tiny_model):
    model = tiny_model()
    assert shared_context_log_probs(model, make_batch()) is None  # answers of several tokens
    batch, _ = letters_batch([0, 4, 6])
    assert shared_context_log_probs(model, batch) is None  # nothing shared
    batch, _ = letters_batch()
    batch["labels"][0] = IGNORE_INDEX
    assert shared_context_log_probs(model, batch) is None  # a row without a label
    batch, _ = letters_batch()
    batch["labels"][0] = IGNORE_INDEX
    batch["labels"][0, 1] = batch["input_ids"][0, 1]
    assert shared_context_log_probs(model, batch) is None  # a label that is not the last token


def test_half_precision_is_summed_in_fp32_and_nan_stays(tiny_model):
    model = tiny_model(dtype=torch.bfloat16).eval()
    batch, _ = letters_batch()
    assert shared_context_log_probs(model, batch).dtype == torch.float32
    with torch.no_grad():
        model.lm_head.weight[30] = torch.nan
    assert shared_context_log_probs(model, batch).isnan().all()
