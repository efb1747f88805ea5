"""How much of an answer greedy decoding brings back, token by token, given the right tokens before.

All of them are per sequence and in ``[0, 1]``, and 1 means that the whole answer is memorized. Only the order of the
scored tokens matters: the side of the padding, the batch and whatever stands at other positions do not. Every label
counts, the one that ends the answer included; a NaN at a scored position makes the sequence NaN.
"""

import torch
from torch import Tensor

from unlearn_pl.functional.evaluation.compat import Compat, follows_openunlearning, without_last


def greedy_matches(logits: Tensor, labels: Tensor) -> Tensor:
    """``argmax_v logits_v = label``: whether greedy decoding would write the label at this position.

    Of equally likely tokens, the first in the vocabulary is written.

    Args:
        logits: ``[B, T-1, V]`` aligned with the labels, as in :class:`~unlearn_pl.types.LanguageView`.
        labels: ``[B, T-1]`` the token that each position predicts.

    Returns:
        ``[B, T-1]`` fp32: 1 or 0, and NaN where a logit is NaN. Positions that are not scored hold nothing of use.

    Example:
        >>> greedy_matches(torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]), torch.tensor([[1, 0]]))
        tensor([[1., 0.]])
    """
    highest, tokens = logits.max(dim=-1)
    return (tokens == labels).float().masked_fill(highest.isnan(), torch.nan)


def exact_memorization(matches: Tensor, mask: Tensor, compat: Compat = None) -> Tensor:
    """``EM = 1/N sum_t match_t``: the share of the answer's ``N`` tokens that greedy decoding gets right.

    With ``compat="openunlearning"``:

    - the last label of every sequence is left out, for it is taken to be the one that ends the answer. Where none
      does, as in MUSE, that is the last word of the text.

    Args:
        matches: ``[B, T-1]`` of :func:`greedy_matches`; bool will do.
        mask: ``[B, T-1]`` True where a token is scored.
        compat: whose conventions to follow.

    Returns:
        ``[B]`` fp64 in ``[0, 1]``; NaN where nothing is scored.

    Raises:
        ValueError: if ``compat`` is unknown.

    Example:
        >>> exact_memorization(torch.tensor([[1.0, 0.0, 1.0, 1.0]]), torch.ones(1, 4, dtype=torch.bool)).item()
        0.75

    References:
        Tirumala et al., Memorization Without Overfitting: Analyzing the Training Dynamics of Large Language Models,
        NeurIPS 2022, arXiv 2205.10770; for unlearning: Wang et al., Towards Effective Evaluations and Comparisons for
        LLM Unlearning Methods, ICLR 2025, arXiv 2406.09179.
    """
    if follows_openunlearning(compat):
        mask = without_last(mask)
    return matches.double().masked_fill(~mask, 0.0).sum(dim=-1) / mask.sum(dim=-1)


def extraction_strength(matches: Tensor, mask: Tensor, compat: Compat = None) -> Tensor:
    """``ES = 1 - k/N`` with the least ``k`` such that greedy decoding gets all tokens after the first ``k`` right.

    It is the share of the answer that may be left out of the prompt and still comes back whole. ``k`` is at most ``N``:
    the empty end of an answer is always right, so that a wrong last token makes it 0.

    With ``compat="openunlearning"``:

    - the last label of every sequence is left out, as in :func:`exact_memorization`;
    - ``k`` is at most ``N - 1``: the score is ``1/N`` where even the last token is wrong;
    - it is 0 where nothing is scored.

    Args:
        matches: ``[B, T-1]`` of :func:`greedy_matches`; bool will do.
        mask: ``[B, T-1]`` True where a token is scored.
        compat: whose conventions to follow.

    Returns:
        ``[B]`` fp64 in ``[0, 1]``, at most :func:`exact_memorization`; NaN where nothing is scored.

    Raises:
        ValueError: if ``compat`` is unknown.

    Example:
        >>> extraction_strength(torch.tensor([[1.0, 0.0, 1.0, 1.0]]), torch.ones(1, 4, dtype=torch.bool)).item()
        0.5

    References:
        After Carlini et al., Extracting Training Data from Large Language Models, USENIX Security 2021,
        arXiv 2012.07805; as a metric of unlearning: Wang et al., Towards Effective Evaluations and Comparisons for LLM
        Unlearning Methods, ICLR 2025, arXiv 2406.09179.
    """
    as_openunlearning = follows_openunlearning(compat)
    if as_openunlearning:
        mask = without_last(mask)
    matches, count = matches.double(), mask.sum(dim=-1)
    errors_to_come = (mask & (matches != 1)).flip(-1).cumsum(dim=-1).flip(-1)
    right_end = (mask & (errors_to_come == 0)).sum(dim=-1)
    if as_openunlearning:
        strength = (right_end.clamp(min=1).double() / count).masked_fill(count == 0, 0.0)
    else:
        strength = right_end.double() / count
    return strength.masked_fill((mask & matches.isnan()).any(dim=-1), torch.nan)
