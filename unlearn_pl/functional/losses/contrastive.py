"""Contrastive losses."""

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(anchors: Tensor, positives: Tensor, temperature: float) -> Tensor:
    """``-log softmax_j(cos(a_i, p_j) / temperature)[i]``, mean over i: each anchor finds its own positive.

    Args:
        anchors: ``[B, D]``.
        positives: ``[B, D]``; row i belongs to anchor i, the others are its negatives.
        temperature: positive.

    Returns:
        ``[]``, fp32 or better; 0 with a gradient of 0 if there is one row only.

    References:
        van den Oord et al., Representation Learning with Contrastive Predictive Coding, arXiv 1807.03748, equation 4.
    """
    dtype = torch.promote_types(anchors.dtype, torch.float32)
    cosines = F.normalize(anchors.to(dtype), dim=-1) @ F.normalize(positives.to(dtype), dim=-1).T
    return F.cross_entropy(cosines / temperature, torch.arange(len(anchors), device=anchors.device))


def pooled(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``hidden [B, T, D]`` over the True entries of ``mask [B, T]``: ``[B, D]``; 0 for rows without any."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
