"""One-token answers, such as the letters of multiple-choice questions, scored in one forward per question."""

import torch
from torch import Tensor, nn

from unlearn_pl.models.language.forward import stream_forward
from unlearn_pl.types import TokenBatch, label_mask


def shared_context_log_probs(model: nn.Module, batch: TokenBatch) -> Tensor | None:
    """Log-probability of the last token of every row; contexts that rows share are run once.

    Args:
        model: a causal language model of transformers.
        batch: ``[B, T]`` tokens.

    Returns:
        ``[B]`` fp32 or better, without a gradient; None if rows share no context or score more than their last token.
    """
    rows, last = torch.arange(len(batch["labels"]), device=batch["labels"].device), batch["attention_mask"].sum(-1) - 1
    scored = label_mask(batch["labels"])
    if not (scored.sum(dim=-1) == 1).all() or not scored[rows, last - 1].all():
        return None
    contexts = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -1)
    contexts[rows, last] = -1
    different, context = contexts.unique(dim=0, return_inverse=True)
    if len(different) == len(rows):
        return None
    first = torch.full((len(different),), len(rows), device=rows.device).scatter_reduce(0, context, rows, "amin")
    answers, answer = batch["input_ids"][rows, last].unique(return_inverse=True)

    def of_answers(logits: Tensor, labels: Tensor) -> Tensor:
        exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return exact.log_softmax(dim=-1)[:, answers]

    one_each = TokenBatch(
        input_ids=batch["input_ids"][first],
        attention_mask=batch["attention_mask"][first],
        labels=batch["labels"][first],
        index=batch["index"][first],
    )
    view = stream_forward(model, one_each, frozenset(), statistics=of_answers)
    assert view.statistics is not None
    return view.statistics[view.mask][context, answer]
