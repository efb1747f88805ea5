"""Unlearning depth: how much of the knowledge that a retain model lacks, layer by layer, an unlearned model lacks."""

import torch
from torch import Tensor

KNOWLEDGE_THRESHOLD = 0.05
"""Nats per token; the authors' value."""


def unlearning_depth(retain_drops: Tensor, drops: Tensor, threshold: float = KNOWLEDGE_THRESHOLD) -> Tensor:
    """``UDS = sum_KE r_l clip(u_l / r_l, 0, 1) / sum_KE r_l``, over the layers KE that encode the knowledge.

    ``r_l`` and ``u_l`` are by how much the full model's mean log-probability of the answer's core drops if the hidden
    states behind layer l come from the retain or from the unlearned model; KE are the layers with
    ``r_l > threshold``. A model with the retain model's states has 1, the full model itself 0, so that ``1 - UDS`` is 0
    and 1.

    Args:
        retain_drops: ``[..., L]`` the ``r_l`` of every example.
        drops: ``[..., L]`` the ``u_l``.
        threshold: least drop of a layer that encodes the knowledge, in nats per token.

    Returns:
        ``[...]`` fp64 in [0, 1]; NaN where no layer encodes the knowledge (the authors leave such examples out of the
        mean), or a drop is NaN.

    Raises:
        ValueError: if the shapes differ, or the threshold is negative.

    Example:
        >>> unlearning_depth(torch.tensor([0.01, 1.0, 3.0]), torch.tensor([9.0, 0.5, 3.5]))
        tensor(0.8750, dtype=torch.float64)

    References:
        "Unlearning Depth Score", arXiv 2605.24614.
    """
    if retain_drops.shape != drops.shape:
        raise ValueError(
            f"The drops have the shapes {list(retain_drops.shape)} and {list(drops.shape)}; they must be equal."
        )
    if threshold < 0:
        raise ValueError(f"threshold={threshold}; accepted is a number of at least 0.")
    retain, unlearned = retain_drops.double(), drops.double()
    weights = torch.where(retain > threshold, retain, 0.0)
    reached = torch.where(retain > threshold, torch.minimum(unlearned.clamp(min=0), retain), 0.0)
    broken = (retain.isnan() | unlearned.isnan()).any(dim=-1)
    return (reached.sum(dim=-1) / weights.sum(dim=-1)).masked_fill(broken, torch.nan)
