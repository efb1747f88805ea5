"""Preference-optimization losses on log-probabilities of whole answers, to be minimized.

The log-probability of an answer is the sum over its tokens. Every loss is a mean over the given sequences, and 0 (with
a gradient of 0) without any, so drop sequences without labels first.
"""

import torch
from torch import Tensor

from unlearn_pl.functional.logprobs import mean_or_zero


def npo_loss(logps: Tensor, ref_logps: Tensor, beta: float) -> Tensor:
    """Negative preference optimization ``-2/beta log sigmoid(-beta (log p - log p_ref))``, mean over sequences.

    Its gradient is that of ``log p`` times ``2 p^beta / (p^beta + p_ref^beta)``: 1 at the reference model, vanishing as
    the answer is forgotten. As ``beta -> 0`` it becomes gradient ascent on the summed log-probability.

    Args:
        logps: ``[B]`` of the model.
        ref_logps: ``[B]`` of the reference model.
        beta: inverse temperature, positive.

    Returns:
        ``[]``, never negative.

    Example:
        >>> npo_loss(torch.tensor([-3.0]), torch.tensor([-3.0]), beta=2.0)
        tensor(0.6931)

    References:
        Zhang et al., Negative Preference Optimization, COLM 2024, arXiv 2404.05868.
    """
    return _descent(-(logps - ref_logps), beta)


def simnpo_loss(logps: Tensor, lengths: Tensor, beta: float, delta: float = 0.0) -> Tensor:
    """``-2/beta log sigmoid(-beta log p / T - beta delta)`` of answers of ``T`` tokens, mean over sequences.

    Without ``delta`` its gradient is that of ``log p`` times ``2 p^(beta/T) / (1 + p^(beta/T)) / T``.

    Args:
        logps: ``[B]`` of the model.
        lengths: ``[B]`` scored tokens of each answer, at least 1.
        beta: inverse temperature, positive.
        delta: margin of the length-normalized log-probability; the paper's ``gamma`` is ``beta * delta``.

    Returns:
        ``[]``, never negative.

    Example:
        >>> simnpo_loss(torch.tensor([0.0]), torch.tensor([4]), beta=2.0)
        tensor(0.6931)

    References:
        Fan et al., Simplicity Prevails: Rethinking Negative Preference Optimization for LLM Unlearning,
        arXiv 2410.07163.
    """
    return _descent(-logps / lengths - delta, beta)


def dpo_loss(chosen: Tensor, ref_chosen: Tensor, rejected: Tensor, ref_rejected: Tensor, beta: float) -> Tensor:
    """``-2/beta log sigmoid(beta (log p_c/p_ref,c - log p_r/p_ref,r))``, mean over pairs.

    The factor is that of NPO's code; direct preference optimization itself has 1 instead of ``2/beta``.

    Args:
        chosen: ``[B]`` of the model, answers to prefer.
        ref_chosen: ``[B]`` the same under the reference model.
        rejected: ``[B]`` of the model, answers to avoid.
        ref_rejected: ``[B]`` the same under the reference model.
        beta: inverse temperature, positive.

    Returns:
        ``[]``, never negative.

    Example:
        >>> same = torch.tensor([-3.0])
        >>> dpo_loss(same, same, same, same, beta=2.0)
        tensor(0.6931)

    References:
        Rafailov et al., Direct Preference Optimization, NeurIPS 2023, arXiv 2305.18290, equation 7.
    """
    return _descent((chosen - ref_chosen) - (rejected - ref_rejected), beta)


def kto_loss(logps: Tensor, ref_logps: Tensor, reference_point: Tensor, beta: float) -> Tensor:
    """``1 - 2/beta log sigmoid(z - beta (log p - log p_ref))`` with the reference point ``z``, mean over sequences.

    Its gradient is that of ``log p`` times ``2 sigmoid(beta (log p - log p_ref) - z)``.

    Args:
        logps: ``[B]`` of the model, forget answers.
        ref_logps: ``[B]`` the same under the reference model.
        reference_point: ``[B]`` or ``[]``; no gradient flows into it.
        beta: inverse temperature, positive.

    Returns:
        ``[]``, at least 1 where there are sequences.

    Example:
        >>> same = torch.tensor([-3.0])
        >>> kto_loss(same, same, torch.tensor(0.0), beta=2.0)
        tensor(1.6931)

    References:
        Ethayarajh et al., KTO: Model Alignment as Prospect Theoretic Optimization, ICML 2024, arXiv 2402.01306;
        Zhang et al., Negative Preference Optimization, COLM 2024, arXiv 2404.05868, whose code has this form.
    """
    margins = reference_point.detach() - beta * (logps - ref_logps)
    return mean_or_zero(1 - 2 / beta * torch.nn.functional.logsigmoid(margins))


def _descent(margins: Tensor, beta: float) -> Tensor:
    return mean_or_zero(-2 / beta * torch.nn.functional.logsigmoid(beta * margins))
