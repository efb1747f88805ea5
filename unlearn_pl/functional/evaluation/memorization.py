"""Memorization: how much of an answer greedy decoding reproduces, token by token, given the correct tokens before.

All metrics are per sequence and in ``[0, 1]``; 1 means that the whole answer is memorized. Only the order of the scored
tokens matters, not the side of the padding, the batch, or other positions. Every label counts, including the one that
ends the answer; a NaN at a scored position makes the sequence NaN.
"""

import torch
from torch import Tensor

from unlearn_pl.functional.evaluation.compat import Compat, follows_openunlearning, without_last


def greedy_matches(logits: Tensor, labels: Tensor) -> Tensor:
    """``argmax_v logits_v = label``: whether greedy decoding writes the label at this position.

    Ties go to the first token in the vocabulary.

    Args:
        logits: ``[B, T-1, V]`` aligned with the labels, as in :class:`~unlearn_pl.types.LanguageView`.
        labels: ``[B, T-1]`` the token that each position predicts.

    Returns:
        ``[B, T-1]`` fp32: 1 or 0, and NaN where a logit is NaN; meaningless at positions that are not scored.

    Example:
        >>> greedy_matches(torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]), torch.tensor([[1, 0]]))
        tensor([[1., 0.]])
    """
    highest, tokens = logits.max(dim=-1)
    return (tokens == labels).float().masked_fill(highest.isnan(), torch.nan)


def exact_memorization(matches: Tensor, mask: Tensor, compat: Compat = None) -> Tensor:
    """``EM = 1/N sum_t match_t``: the share of the answer's ``N`` tokens that greedy decoding predicts correctly.

    With ``compat="openunlearning"``:

    - the last label of every sequence is dropped, on the assumption that it is the one that ends the answer. Without
      such a label, as in MUSE, the last word of the text is dropped.

    Args:
        matches: ``[B, T-1]`` of :func:`greedy_matches`; bool is accepted.
        mask: ``[B, T-1]`` True where a token is scored.
        compat: conventions to follow.

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
    """``ES = 1 - k/N`` with the least ``k`` such that greedy decoding predicts all tokens after the first ``k``.

    It is the share of the answer that is reproduced completely if the prompt contains the rest. ``k`` is at most ``N``:
    the empty end of an answer is always correct, so that a wrong last token gives 0.

    With ``compat="openunlearning"``:

    - the last label of every sequence is dropped, as in :func:`exact_memorization`;
    - ``k`` is at most ``N - 1``: the score is ``1/N`` where even the last token is wrong;
    - it is 0 where nothing is scored.

    Args:
        matches: ``[B, T-1]`` of :func:`greedy_matches`; bool is accepted.
        mask: ``[B, T-1]`` True where a token is scored.
        compat: conventions to follow.

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
    correct_end = (mask & (errors_to_come == 0)).sum(dim=-1)
    if as_openunlearning:
        strength = (correct_end.clamp(min=1).double() / count).masked_fill(count == 0, 0.0)
    else:
        strength = correct_end.double() / count
    return strength.masked_fill((mask & matches.isnan()).any(dim=-1), torch.nan)
