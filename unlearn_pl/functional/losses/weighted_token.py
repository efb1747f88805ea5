"""Unlearning losses that weight every token by its probability, to be minimized.

Weights carry no gradient. Every loss is 0, with a gradient of 0, when nothing is scored.
"""

import torch
from torch import Tensor

from unlearn_pl.functional.logprobs import expected_value, masked_mean, total_weight, upcast
from unlearn_pl.host_copies import on_both, true_positions
from unlearn_pl.token_weights import weights_of


def wga_loss(logps: Tensor, mask: Tensor, beta: float = 1.0) -> Tensor:
    """Weighted gradient ascent ``[p^beta] log p``, with ``[.]`` held constant; mean over the scored tokens.

    Args:
        logps: ``[...]`` log-probabilities ``log p`` of the labels.
        mask: ``[...]`` True where a token is scored.
        beta: how fast a token stops pulling as it is forgotten; 0 is gradient ascent.

    Returns:
        ``[]``, in ``[-1 / (e beta), 0]``.

    Example:
        >>> wga_loss(torch.tensor([-1.0, -1e4]), torch.tensor([True, True]))
        tensor(-0.1839)

    References:
        Wang et al., Rethinking LLM Unlearning Objectives, ICLR 2025, arXiv 2502.19301.
    """
    return _weighted_ascent(logps, (beta * logps.detach()).exp(), mask)


def satimp_loss(logps: Tensor, mask: Tensor, beta1: float = 5.0, beta2: float = 0.1) -> Tensor:
    """``[p^beta1 (1 - p)^beta2] log p``, with ``[.]`` held constant; mean over the scored tokens.

    Args:
        logps: ``[...]`` log-probabilities ``log p`` of the labels.
        mask: ``[...]`` True where a token is scored.
        beta1: saturation: how fast a token stops pulling as it is forgotten.
        beta2: importance: how much less a token pulls when the model is certain of it.

    Returns:
        ``[]``, never positive.

    Example:
        >>> satimp_loss(torch.tensor([-0.6931, 0.0]), torch.tensor([True, True]), beta1=1.0, beta2=1.0)
        tensor(-0.0866)

    References:
        Yang et al., Exploring Criteria of Loss Reweighting to Enhance LLM Unlearning, ICML 2025, arXiv 2505.11953.
    """
    constant = logps.detach()
    # Rounding may leave a log-probability slightly above 0: the complement is then negative, and its power NaN.
    complement = (-constant.expm1()).clamp(min=0.0)
    return _weighted_ascent(logps, (beta1 * constant).exp() * complement**beta2, mask)


def tnpo_loss(logps: Tensor, ref_logps: Tensor, mask: Tensor, beta: float) -> Tensor:
    """Token-wise NPO ``-2/beta log sigmoid(-beta (log p - log p_ref))``, mean over the scored tokens.

    Its gradient is that of ``log p`` times ``2 p^beta / (p^beta + p_ref^beta)``, token by token.

    Args:
        logps: ``[...]`` log-probabilities of the labels.
        ref_logps: ``[...]`` the same under the reference model.
        mask: ``[...]`` True where a token is scored.
        beta: inverse temperature, positive.

    Returns:
        ``[]``, never negative.

    Example:
        >>> tnpo_loss(torch.tensor([-3.0]), torch.tensor([-3.0]), torch.tensor([True]), beta=2.0)
        tensor(0.6931)

    References:
        Wang et al., Rethinking LLM Unlearning Objectives, ICLR 2025, arXiv 2502.19301.
    """
    return masked_mean(-2 / beta * torch.nn.functional.logsigmoid(-beta * (logps - ref_logps)), mask)


def wtnpo_loss(logps: Tensor, ref_logps: Tensor, mask: Tensor, beta: float, alpha: float) -> Tensor:
    """``[2 p^(beta + alpha) / (p^beta + p_ref^beta)] log p``, with ``[.]`` held constant; mean over the scored tokens.

    The gradient of :func:`tnpo_loss` times ``p^alpha``, token by token: tokens that are forgotten already stop pulling,
    also where the reference model never knew them.

    Args:
        logps: ``[...]`` log-probabilities of the labels.
        ref_logps: ``[...]`` the same under the reference model.
        mask: ``[...]`` True where a token is scored.
        beta: inverse temperature, positive.
        alpha: how fast a token stops pulling as it is forgotten; 0 leaves the gradient of :func:`tnpo_loss`.

    Returns:
        ``[]``, never positive.

    Example:
        >>> wtnpo_loss(torch.tensor([-1.0]), torch.tensor([-1.0]), torch.tensor([True]), beta=0.1, alpha=1.0)
        tensor(-0.3679)

    References:
        Wang et al., Rethinking LLM Unlearning Objectives, ICLR 2025, arXiv 2502.19301.
    """
    constant = logps.detach()
    weights = 2 * (alpha * constant).exp() * torch.sigmoid(beta * (constant - ref_logps.detach()))
    return _weighted_ascent(logps, weights, mask)


def ceu_loss(logits: Tensor, labels: Tensor, mask: Tensor, ignore_first_n: int = 1) -> Tensor:
    """``-sum_v q_v log p_v`` with ``q_y = 0`` at the label ``y``, else ``q_v = [p_v / (1 - p_y)]`` (held constant).

    The sum over the used tokens is divided by the number of scored tokens, ignored ones included: only then do
    micro-batches, weighted by their scored tokens, add up to the whole batch.

    Args:
        logits: ``[B, T-1, V]`` of the model.
        labels: ``[B, T-1]`` the token that each position predicts.
        mask: ``[B, T-1]`` True where a token is scored.
        ignore_first_n: number of scored tokens at the start of every sequence that are ignored.

    Returns:
        ``[]``, fp32 or better, never negative. Its gradient with respect to the logits is ``(p - q) / count`` at every
        used token.

    Example:
        >>> labels = torch.tensor([[1, 0]])
        >>> ceu_loss(torch.zeros(1, 2, 2), labels, torch.tensor([[True, True]]), ignore_first_n=0)
        tensor(0.6931)

    References:
        Yang, CE-U: Cross Entropy Unlearning, 2025, arXiv 2503.01224.
    """
    used = true_positions(on_both(lambda given: given & (given.cumsum(dim=-1) > ignore_first_n), mask)).unbind(-1)
    logps = torch.log_softmax(upcast(logits[used]), dim=-1)
    # From logits without the label, not by division by 1 - p, which is 0 where the model is certain of the label.
    others = logps.detach().scatter(-1, labels[used].unsqueeze(-1), -torch.inf)
    losses = -expected_value(torch.log_softmax(others, dim=-1), logps)
    weights = weights_of(mask)
    if weights is not None:
        losses = losses * weights[used].to(losses.dtype)
    return losses.sum() / total_weight(mask, losses.dtype)


def _weighted_ascent(logps: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
    # A token of probability 0 has weight 0, but its log-probability may be infinite.
    return masked_mean(weights * logps.masked_fill(weights == 0, 0.0), mask)
