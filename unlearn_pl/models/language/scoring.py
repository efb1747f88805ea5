"""Teacher-forced scores of answers, from one forward."""

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from unlearn_pl.models.language.details import token_statistics, with_details
from unlearn_pl.models.language.forward import stream_forward
from unlearn_pl.models.language.shared_context import shared_context_log_probs
from unlearn_pl.types import Detail, Score, TokenBatch


def score(
    model: nn.Module,
    batch: TokenBatch,
    details: frozenset[Detail] = frozenset(),
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Score:
    """Log-likelihood of the labels of ``batch``: summed NLL and number of scored tokens, each ``[B]``.

    Args:
        model: a causal language model.
        batch: candidate answers, ``[B, T]`` tokens.
        details: what else to compute about every scored token of candidate 0, from the same forward.
        tokenizer: decodes the labels; needed for the detail ``text``.
    """
    choice = batch.get("choice", torch.zeros_like(batch["index"]))
    if not details and (logps := shared_context_log_probs(model, batch)) is not None:
        return Score(index=batch["index"], choice=choice, nll=-logps, num_tokens=torch.ones_like(choice))
    statistics = token_statistics(details)
    view = stream_forward(model, batch, frozenset(), statistics=statistics, statistics_of=choice == 0)
    plain = Score(
        index=batch["index"],
        choice=choice,
        nll=-view.logps.sum(dim=-1),
        num_tokens=view.mask.sum(dim=-1),
    )
    return with_details(plain, view, details, tokenizer)
