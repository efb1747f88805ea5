"""Losses on hidden states: the distance from a random direction, or from given states, and what they share."""

import torch
import torch.nn.functional as F
from torch import Tensor

from unlearn_pl.functional.logprobs import mean_of_scored, row_shares, upcast
from unlearn_pl.host_copies import true_positions


def control_vector(size: int, seed: int) -> Tensor:
    """``u = r / |r|`` with ``r`` uniform in ``[0, 1)^D``: a random unit vector of non-negative entries.

    It depends on its arguments alone, so that all ranks and resumed runs use the same one without storing it.

    Args:
        size: D, the number of hidden units.
        seed: random seed of the draw.

    Returns:
        ``[D]`` fp64 on the CPU.

    Example:
        >>> control_vector(3, seed=0).norm()
        tensor(1., dtype=torch.float64)
    """
    draw = torch.rand(size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return draw / draw.norm()


def steering_target(hidden: Tensor, seed: int, coefficient: float | Tensor) -> Tensor:
    """``coefficient * u``: the target of misdirected hidden states.

    Args:
        hidden: ``[B, T-1, D]`` hidden states; only their width, device and precision are read.
        seed: random seed of the control vector ``u``.
        coefficient: length of the target, one for all positions or ``[B, T-1]``.

    Returns:
        ``[D]``, or ``[B, T-1, D]`` for one length per position; fp32 or better.
    """
    direction = control_vector(hidden.shape[-1], seed).to(torch.promote_types(hidden.dtype, torch.float32))
    direction = direction.to(hidden.device, non_blocking=True)
    return (coefficient.unsqueeze(-1) if isinstance(coefficient, Tensor) else coefficient) * direction


def hidden_state_error(hidden: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """``|h_t - target_t|^2 / D``, mean over the scored positions of a sequence, then over the sequences.

    Args:
        hidden: ``[B, T-1, D]`` hidden states.
        target: ``[B, T-1, D]``, or any shape that expands to it.
        mask: ``[B, T-1]`` True where a position is scored; the others are ignored, NaN included.

    Returns:
        ``[]``, fp32 or better, mean over sequences with scored positions; 0, with a gradient of 0, without any.

    Example:
        >>> hidden_state_error(torch.ones(1, 2, 4), torch.zeros(4), torch.tensor([[True, False]]))
        tensor(1.)
    """
    scored = true_positions(mask).unbind(-1)
    errors = (upcast(hidden[scored]) - upcast(target.expand_as(hidden)[scored])).square().mean(dim=-1)
    return (row_shares(mask, errors.dtype)[scored] * errors).sum() / mask.any(dim=-1).sum().clamp(min=1)


def hidden_overlap(hidden: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    """``max(0, cos(h_t, h_ref,t))``, mean over the scored positions: 0 where the states are orthogonal or opposed.

    Args:
        hidden: ``[B, T-1, D]`` hidden states.
        reference: ``[B, T-1, D]`` those of the reference model.
        mask: ``[B, T-1]`` True where a position is scored; the others are ignored, NaN included.

    Returns:
        ``[]`` in ``[0, 1]``, fp32 or better; 0, with a gradient of 0, when nothing is scored.

    Example:
        >>> hidden_overlap(torch.eye(2)[None], torch.ones(1, 2, 2), torch.tensor([[True, True]]))
        tensor(0.7071)
    """
    scored = true_positions(mask).unbind(-1)
    overlaps = F.cosine_similarity(upcast(hidden[scored]), upcast(reference[scored]), dim=-1)
    return mean_of_scored(overlaps.relu(), mask)


def hidden_distance(hidden: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    """``|h_t - h_ref,t|``, mean over the scored positions.

    Args:
        hidden: ``[B, T-1, D]`` hidden states.
        reference: ``[B, T-1, D]`` those of the reference model.
        mask: ``[B, T-1]`` True where a position is scored; the others are ignored, NaN included.

    Returns:
        ``[]``, fp32 or better; 0, with a gradient of 0, when nothing is scored. The gradient is 0 where the states are
        equal, too.

    Example:
        >>> hidden_distance(torch.ones(1, 2, 4), torch.zeros(1, 2, 4), torch.tensor([[True, False]]))
        tensor(2.)
    """
    scored = true_positions(mask).unbind(-1)
    return mean_of_scored(torch.linalg.vector_norm(upcast(hidden[scored]) - upcast(reference[scored]), dim=-1), mask)
