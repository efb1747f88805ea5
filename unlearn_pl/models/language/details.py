"""What evaluations ask about every scored token, computed while its logits exist."""

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from unlearn_pl.functional import greedy_matches, log_prob_moments
from unlearn_pl.models.language.forward import TokenStatistics
from unlearn_pl.types import Detail, LanguageView, Score


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
