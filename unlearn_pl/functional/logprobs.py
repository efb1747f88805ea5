"""Log-probabilities of labels, and the means and entropies that losses use."""

import torch
import torch.nn.functional as F
from torch import Tensor

from unlearn_pl.functional.scored_rows import over_scored
from unlearn_pl.host_copies import true_positions
from unlearn_pl.token_weights import nonzero_or_one, weights_of
from unlearn_pl.types import label_mask


def token_log_probs(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """``log p(y_t | y_<t, x)`` of every scored token.

    Args:
        logits: ``[B, T, V]`` output of a causal language model.
        labels: ``[B, T]`` token ids, ``-100`` where not scored (not shifted).

    Returns:
        ``logps [B, T-1]``, fp32 or better and 0 where not scored, and ``mask [B, T-1]``, True where scored.
        Entry ``t`` belongs to token ``t + 1``.

    Example:
        >>> logps, mask = token_log_probs(torch.zeros(1, 3, 4), torch.tensor([[-100, 2, -100]]))
        >>> mask
        tensor([[ True, False]])
        >>> logps.exp()
        tensor([[0.2500, 1.0000]])
    """
    mask = label_mask(labels)
    logps = label_log_probs(logits[:, :-1], labels[:, 1:], mask)
    return logps.new_zeros(mask.shape).masked_scatter(mask, logps), mask


def label_log_probs(logits: Tensor, labels: Tensor, mask: Tensor | None = None) -> Tensor:
    """``log softmax(logits)`` at the labels, computed in chunks of positions.

    Args:
        logits: ``[..., V]``.
        labels: ``[...]`` the token that each row predicts; only scored ones are read.
        mask: ``[...]`` True for the N rows that are scored; None for all rows of ``logits [N, V]``.

    Returns:
        ``[N]``, fp32 or better.

    Example:
        >>> label_log_probs(torch.zeros(2, 4), torch.tensor([1, -100]), torch.tensor([True, False])).exp()
        tensor([0.2500])
    """

    def value(row: Tensor, label: Tensor) -> Tensor:
        return -F.cross_entropy(upcast(row), label, reduction="none")

    def gradient(row: Tensor, label: Tensor) -> Tensor:
        one_hot = label.unsqueeze(-1)
        minus_probs = torch.softmax(upcast(row), dim=-1).neg_()
        return minus_probs.scatter_add_(-1, one_hot, torch.ones_like(one_hot, dtype=minus_probs.dtype))

    return over_scored(value, mask, logits, labels, gradient=gradient)


def sequence_log_probs(logits: Tensor, labels: Tensor) -> Tensor:
    """``log p(y | x) = sum_t log p(y_t | y_<t, x)`` of every sequence.

    Args:
        logits: ``[B, T, V]`` output of a causal language model.
        labels: ``[B, T]`` token ids, ``-100`` where not scored (not shifted).

    Returns:
        ``[B]``, fp32 or better; 0 for a sequence without scored tokens.

    Example:
        >>> sequence_log_probs(torch.zeros(1, 3, 4), torch.tensor([[-100, 2, 1]])).exp()
        tensor([0.0625])
    """
    return token_log_probs(logits, labels)[0].sum(dim=-1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` where ``mask`` is True; all other entries, NaN included, are ignored.

    If the mask has weights, ``sum w v / sum w``; entries of weight 0 are ignored as well.

    Args:
        values: ``[...]``.
        mask: ``[...]`` bool, of the same shape.

    Returns:
        ``[]``; 0, with a gradient of 0, when ``mask`` has no True entry.

    Example:
        >>> masked_mean(torch.tensor([1.0, 3.0, torch.nan]), torch.tensor([True, True, False]))
        tensor(2.)
    """
    weights = weights_of(mask)
    if weights is None:
        return values.masked_fill(~mask, 0.0).sum() / mask.sum().clamp(min=1)
    return (values.masked_fill(weights == 0, 0.0) * weights.to(values.dtype)).sum() / total_weight(mask, values.dtype)


def mean_of_scored(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values``, those of the True entries of ``mask`` in their order; weighted if the mask has weights.

    Args:
        values: ``[N]``, as :func:`~unlearn_pl.functional.scored_rows.over_scored` returns them.
        mask: ``[...]`` bool with N True entries.

    Returns:
        ``[]``; 0, with a gradient of 0, when ``mask`` has no True entry.

    Example:
        >>> mean_of_scored(torch.tensor([1.0, 3.0]), torch.tensor([True, False, True]))
        tensor(2.)
    """
    weights = weights_of(mask)
    if weights is None:
        return mean_or_zero(values)
    weights = weights[true_positions(mask).unbind(-1)].to(values.dtype)
    return (values.masked_fill(weights == 0, 0.0) * weights).sum() / total_weight(mask, values.dtype)


def total_weight(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """The divisor of a mean over the True entries of ``mask``: their number or weight, ``[]``; 1 if that is 0."""
    weights = weights_of(mask)
    return mask.sum().clamp(min=1) if weights is None else nonzero_or_one(weights.sum(dtype=torch.float64)).to(dtype)


def row_shares(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """The share of every True entry of ``mask [B, T]`` in its row, by weight if it has weights: ``[B, T]``.

    The shares of a row add up to 1, or to 0 where there is nothing.
    """
    weights = weights_of(mask)
    if weights is None:
        return mask.to(dtype) / mask.sum(dim=-1, keepdim=True).clamp(min=1)
    return weights.to(dtype) / nonzero_or_one(weights.sum(dim=-1, keepdim=True, dtype=torch.float64)).to(dtype)


def mean_or_zero(values: Tensor) -> Tensor:
    """Mean of ``values [n]``, ``[n] -> []``; 0, with a gradient of 0, when there are none."""
    return values.sum() / max(len(values), 1)


def entropy(logits: Tensor) -> Tensor:
    """``H(p) = -sum_v p_v log p_v`` of ``p = softmax(logits)``, in nats.

    Args:
        logits: ``[..., V]``; entries of ``-inf`` have probability 0.

    Returns:
        ``[...]`` in ``[0, log V]``, fp32 or better.

    Example:
        >>> entropy(torch.zeros(4))
        tensor(1.3863)
    """
    logps = torch.log_softmax(upcast(logits), dim=-1)
    return -expected_value(logps, logps)


def expected_value(logps: Tensor, values: Tensor) -> Tensor:
    """``sum_v p_v values_v``, ``[..., V] -> [...]``; an infinite value counts as 0 where ``p_v = 0``."""
    probs = logps.exp()
    return (probs * values.masked_fill(probs == 0, 0.0)).sum(dim=-1)


def upcast(tensor: Tensor) -> Tensor:
    """``tensor [...]`` in fp32, or unchanged if its precision is higher."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
