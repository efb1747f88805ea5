"""Membership of single examples, from models that were trained with and without them."""

import torch
from torch import Tensor

LEAST_SPREAD = 0.1
"""Least standard deviation that a few shadow models are believed."""


def logit_confidence(logps: Tensor, mask: Tensor) -> Tensor:
    """``log(p / (1 - p))`` of the geometric mean ``p`` of the probabilities of a text's tokens, ``[B]`` fp64.

    Unlike ``p`` itself, it is about normally distributed over models.

    Args:
        logps: ``[B, T-1]`` log-probabilities of the labels.
        mask: ``[B, T-1]`` True where a token is scored.
    """
    mean = (logps.double() * mask).sum(dim=-1) / mask.sum(dim=-1)
    return mean - torch.log1p(-mean.exp().clamp(max=1 - 1e-15))


def likelihood_ratio_attack(confidence: Tensor, without: Tensor, within: Tensor | None = None) -> Tensor:
    """``(mu_out - phi) / sigma_out``, or with ``within`` ``log N(phi; out) - log N(phi; in)``; high = non-member.

    ``phi`` is the confidence of the attacked model in one example; mean and standard deviation are those of the shadow
    models that were trained without it, or with it. So an example that every model finds easy does not pass for a
    member, unlike in attacks that compare examples with each other.

    Args:
        confidence: ``[B]`` :func:`logit_confidence` of the attacked model.
        without: ``[B, S]`` that of S shadow models that never saw the examples.
        within: ``[B, S']`` that of shadow models that did; None for the offline attack.

    Returns:
        ``[B]`` fp64. Standard deviations of less than 0.1 count as 0.1, since those of a few models may be 0.

    Raises:
        ValueError: if there are fewer than two shadow models of a kind.

    Example:
        >>> likelihood_ratio_attack(torch.tensor([2.0]), torch.tensor([[0.0, 1.0]])).item() < 0  # a member
        True

    References:
        Carlini et al., "Membership Inference Attacks From First Principles" (LiRA), arXiv 2112.03570.
    """
    phi = confidence.double()
    mean, spread = _normal(without, "without")
    if within is None:
        return (mean - phi) / spread
    mean_in, spread_in = _normal(within, "within")
    out, member = (-0.5 * ((phi - m) / s).square() - s.log() for m, s in ((mean, spread), (mean_in, spread_in)))
    return out - member


def _normal(confidences: Tensor, name: str) -> tuple[Tensor, Tensor]:
    if confidences.shape[-1] < 2:
        raise ValueError(f"{name} has {confidences.shape[-1]} shadow models; accepted are at least 2.")
    values = confidences.double()
    return values.mean(dim=-1), values.std(dim=-1).clamp(min=LEAST_SPREAD)
