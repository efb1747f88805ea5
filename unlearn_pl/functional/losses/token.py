"""Unlearning losses as functions of log-probabilities and logits, to be minimized."""

import torch
from torch import Tensor

from unlearn_pl.functional.logprobs import expected_value, masked_mean, mean_of_scored, upcast
from unlearn_pl.functional.scored_rows import over_scored


def uce_loss(logps: Tensor, mask: Tensor) -> Tensor:
    """Unlearning cross-entropy ``-log(1 - p/2)``, mean over the scored tokens.

    It forgets by descent and is bounded: the loss of every token is in ``[0, log 2]``, and its gradient is
    ``p / (2 - p)`` times that of ``log p``, so that tokens that are forgotten already stop pulling.

    Args:
        logps: ``[...]`` log-probabilities ``log p`` of the labels.
        mask: ``[...]`` True where a token is scored.

    Returns:
        ``[]``; 0, with a gradient of 0, when nothing is scored.

    Example:
        >>> uce_loss(torch.tensor([0.0, -1e4]), torch.tensor([True, False]))
        tensor(0.6931)

    References:
        Pan et al., Federated Unlearning with Gradient Descent and Conflict Mitigation, AAAI 2025,
        arXiv 2412.20200; Pan et al., MOLLM, ICASSP 2025, arXiv 2412.20412.
        The mean runs over scored tokens only; the code of 2412.20200 also counts ignored ones in the denominator.
    """
    return masked_mean(-torch.log1p(-0.5 * logps.exp()), mask)


def kl_divergence(logits: Tensor, ref_logits: Tensor, mask: Tensor) -> Tensor:
    """``KL(ref || model) = sum_v p_ref(v) [log p_ref(v) - log p(v)]``, mean over the scored positions.

    Args:
        logits: ``[B, T-1, V]`` of the model.
        ref_logits: ``[B, T-1, V]`` of the reference model; no gradient flows to them.
        mask: ``[B, T-1]`` True where a position is scored; the others are never upcast.

    Returns:
        ``[]``, fp32 or better; 0, with a gradient of 0, when nothing is scored.

    Example:
        >>> logits = torch.tensor([[[0.0, 0.0], [5.0, -5.0]]])
        >>> kl_divergence(logits, torch.zeros(1, 2, 2), torch.tensor([[True, False]]))
        tensor(0.)
    """

    def value(row: Tensor, ref_row: Tensor) -> Tensor:
        logps = torch.log_softmax(upcast(row), dim=-1)
        ref_logps = torch.log_softmax(upcast(ref_row), dim=-1)
        return expected_value(ref_logps, ref_logps - logps)

    def gradient(row: Tensor, ref_row: Tensor) -> Tensor:
        return torch.softmax(upcast(row), dim=-1) - torch.softmax(upcast(ref_row), dim=-1)

    return mean_of_scored(over_scored(value, mask, logits, ref_logits, gradient=gradient), mask)
