"""Teacher-forced scores of answers, from one forward."""

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from unlearn_pl.functional import greedy_matches, log_prob_moments
from unlearn_pl.models.language.forward import TokenStatistics, stream_forward
from unlearn_pl.models.language.shared_context import shared_context_log_probs
from unlearn_pl.types import Detail, LanguageView, Score, TokenBatch


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


def token_statistics(details: frozenset[Detail]) -> TokenStatistics | None:
    """The columns that ``details`` need: ``greedy``, then ``mean`` and ``variance``; None when they need none."""
    if not details & {"greedy", "moments"}:
        return None

    def statistics(logits: Tensor, labels: Tensor) -> Tensor:
        columns = [greedy_matches(logits, labels)] if "greedy" in details else []
        if "moments" in details:
            everywhere = torch.ones_like(labels, dtype=torch.bool)
            columns += [moment[0] for moment in log_prob_moments(logits[None], everywhere[None])]
        exact = torch.promote_types(logits.dtype, torch.float32)
        return torch.stack([column.to(exact) for column in columns], dim=-1)

    return statistics


def with_details(
    score: Score, view: LanguageView, details: frozenset[Detail], tokenizer: PreTrainedTokenizerBase | None
) -> Score:
    """``score`` with what ``details`` ask for.

    Args:
        score: without details.
        view: made with the statistics of :func:`token_statistics`.
        details: what is asked for.
        tokenizer: decodes the labels; needed for ``text``.
    """
    if not details:
        return score
    detailed = score | Score(logps=view.logps, mask=view.mask)  # type: ignore[typeddict-item]
    columns = [] if view.statistics is None else list(view.statistics.unbind(dim=-1))
    if "greedy" in details:
        detailed["greedy"] = columns.pop(0)
    if "moments" in details:
        detailed["mean"], detailed["variance"] = columns
    if "text" in details:
        assert tokenizer is not None
        labels = [row[scored].tolist() for row, scored in zip(view.labels.cpu(), view.mask.cpu(), strict=True)]
        detailed["text"] = tokenizer.batch_decode(labels, skip_special_tokens=True)
    return detailed
