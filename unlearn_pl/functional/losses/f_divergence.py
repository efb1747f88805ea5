"""Variational form of f-divergences between a desired and an undesired answer (FLAT)."""

import math
from typing import Literal, assert_never

import torch
import torch.nn.functional as F
from torch import Tensor

from unlearn_pl.functional.logprobs import upcast
from unlearn_pl.token_weights import nonzero_or_one, weights_of

FDivergence = Literal["kl", "tv", "js", "pearson"]
"""Kullback-Leibler, total variation, Jensen-Shannon, Pearson chi-squared."""


def mean_probability(logps: Tensor, mask: Tensor) -> Tensor:
    """``P(x, y) = mean_t p(y_t | y_<t, x)`` of every sequence, over its scored tokens.

    If the mask has weights, the mean is weighted by them.

    Args:
        logps: ``[B, T-1]`` log-probabilities of the labels.
        mask: ``[B, T-1]`` True where a token is scored.

    Returns:
        ``[B]`` in ``[0, 1]``; 0, with a gradient of 0, for a sequence without scored tokens.

    Example:
        >>> mean_probability(torch.tensor([[0.0, -1e4, 0.0]]), torch.tensor([[True, True, False]]))
        tensor([0.5000])
    """
    probs = upcast(logps).exp().masked_fill(~mask, 0.0)
    weights = weights_of(mask)
    if weights is None:
        return probs.sum(dim=-1) / mask.sum(dim=-1).clamp(min=1)
    weights = weights.to(probs.dtype)
    return (probs * weights).sum(dim=-1) / nonzero_or_one(weights.sum(dim=-1))


def variational(scores: Tensor, divergence: FDivergence) -> Tensor:
    """``g*(v)``: maps a score to the domain of the conjugate.

    ``v`` for KL and Pearson, ``tanh(v) / 2`` for total variation, ``log(2 / (1 + e^-v))`` for Jensen-Shannon.

    Args:
        scores: ``[...]`` ``v``.
        divergence: the f-divergence.

    Returns:
        ``[...]``.
    """
    match divergence:
        case "kl" | "pearson":
            return scores
        case "tv":
            return scores.tanh() / 2
        case "js":
            return math.log(2) - F.softplus(-scores)
    assert_never(divergence)


def conjugate(values: Tensor, divergence: FDivergence) -> Tensor:
    """``f*(u) = sup_t (u t - f(t))``, the convex conjugate of the divergence's generator.

    ``e^(u-1)`` for KL, ``u`` for total variation, ``-log(2 - e^u)`` for Jensen-Shannon, ``u + u^2 / 4`` for Pearson.

    Args:
        values: ``[...]`` ``u``, in the range of :func:`variational`.
        divergence: the f-divergence.

    Returns:
        ``[...]``.
    """
    match divergence:
        case "kl":
            return (values - 1).exp()
        case "tv":
            return values
        case "js":
            return -torch.log(2 - values.exp())
        case "pearson":
            return values + values.square() / 4
    assert_never(divergence)


def flat_losses(template: Tensor, forget: Tensor, divergence: FDivergence) -> Tensor:
    """``-g*(P(x, y_template)) + f*(g*(P(x, y_forget)))`` of every pair: one answer is learned, the other is unlearned.

    Args:
        template: ``[B]`` mean probabilities of the template answers (refusals).
        forget: ``[B]`` mean probabilities of the forget answers.
        divergence: the f-divergence whose variational form is maximized.

    Returns:
        ``[B]``.

    Example:
        >>> flat_losses(torch.tensor([1.0]), torch.tensor([0.0]), "pearson")
        tensor([-1.])

    References:
        Wang et al., LLM Unlearning via Loss Adjustment with Only Forget Data, ICLR 2025, arXiv 2410.11143.
    """
    return conjugate(variational(forget, divergence), divergence) - variational(template, divergence)
