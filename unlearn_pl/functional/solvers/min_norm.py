"""The exact minimum-norm point of the convex hull of gradients, from their Gramian."""

import torch
from torch import Tensor

MAX_OBJECTIVES = 8
"""Largest K: the supports that are enumerated number ``2^K - 1``."""


def min_norm_weights(gramian: Tensor) -> Tensor:
    """``argmin_w w^T G w`` over the simplex (``w >= 0``, ``sum w = 1``).

    With ``G = J J^T``, ``d = J^T w`` is the shortest vector in the convex hull of the gradients, and ``-d`` descends
    every objective: ``g_k . d >= |d|^2``, with equality where ``w_k > 0``.

    The solution is exact for the raw matrix (a zero row takes all the weight, since the norm is then 0), deterministic,
    and the same for ``c G``. Several weights with the same ``d`` are averaged, so that duplicates share their weight;
    an all-zero matrix gives equal weights. A matrix with a non-finite entry gives NaN.

    Args:
        gramian: ``[K, K]`` symmetric positive semi-definite, on any device; rounding errors are tolerated.

    Returns:
        ``[K]`` fp64 on the CPU.

    Raises:
        ValueError: if the matrix is not square, or K is 0 or above 8.

    Example:
        >>> min_norm_weights(torch.tensor([[1.0, 0.0], [0.0, 3.0]]))
        tensor([0.7500, 0.2500], dtype=torch.float64)

    References:
        Désidéri, Multiple-gradient descent algorithm (MGDA) for multiobjective optimization, C. R. Math. 2012;
        Sener & Koltun, Multi-Task Learning as Multi-Objective Optimization, NeurIPS 2018, arXiv 1810.04650.
    """
    gramian = _validated(gramian)
    norms = gramian.diagonal().clamp(min=0.0).sqrt()
    if not gramian.isfinite().all():
        return torch.full_like(norms, torch.nan)
    if (norms == 0).any():
        return (norms == 0) / (norms == 0).sum(dtype=torch.float64)
    return _two_objectives(gramian) if len(norms) == 2 else _best_support(gramian, norms)


def _validated(gramian: Tensor) -> Tensor:
    if gramian.ndim != 2 or gramian.shape[0] != gramian.shape[1] or not 1 <= len(gramian) <= MAX_OBJECTIVES:
        raise ValueError(
            f"gramian has shape {list(gramian.shape)}, but must be [K, K] with 1 <= K <= {MAX_OBJECTIVES} objectives."
        )
    return gramian.detach().to("cpu", torch.float64)


def _two_objectives(gramian: Tensor) -> Tensor:
    a, b, c = gramian[0, 0].item(), gramian[1, 1].item(), gramian[0, 1].item()
    # Both are computed, not one as the rest to 1: a tiny weight of a long gradient needs its own digits.
    weights = [b - c, a - c] if c < min(a, b) else [float(a <= b), float(b <= a)]
    return torch.tensor(weights, dtype=torch.float64) / sum(weights)


def _best_support(gramian: Tensor, norms: Tensor) -> Tensor:
    """Solve for every support without the constraint ``w >= 0``, and keep the solutions that meet the KKT conditions.

    Unknowns are the lengths ``u_k = w_k n_k / n_min`` along unit gradients (cosines ``C``), with ``r_k = n_min / n_k``:
    ``C u = mu r`` and ``r . u = 1`` on the support. Norms that differ by many orders of magnitude then cost no digits.
    """
    size = len(norms)
    ratios = norms.min() / norms
    cosines = gramian / norms.outer(norms)
    supports = (torch.arange(1, 2**size).unsqueeze(1) >> torch.arange(size)) & 1

    # Rows off the support read u_k = 0. Dependent supports may be singular; some independent one is always optimal.
    system = torch.zeros(len(supports), size + 1, size + 1, dtype=torch.float64)
    inside = (supports.unsqueeze(2) & supports.unsqueeze(1)).bool()
    system[:, :size, :size] = torch.where(inside, cosines, torch.eye(size, dtype=torch.float64))
    system[:, :size, size] = system[:, size, :size] = supports * ratios
    target = torch.zeros(len(supports), size + 1, dtype=torch.float64)
    target[:, size] = 1.0
    solutions, _ = torch.linalg.solve_ex(system, target)
    lengths = solutions[:, :size]
    lengths = lengths / (lengths @ ratios).unsqueeze(1)
    lengths = lengths[(lengths.isfinite() & (lengths >= 0)).all(dim=1)]

    # The KKT gap |d|^2 - min_k g_k . d, in units of n_min^2, bounds how far |d|^2 is above the minimum. Adding its
    # rounding error keeps long detours from winning by chance. It is convex: the average of solutions is a solution.
    projections = lengths @ cosines
    gaps = (lengths * projections).sum(dim=1) - (projections / ratios).amin(dim=1)
    bounds = gaps.clamp(min=0.0) + 1e-16 * lengths.sum(dim=1) / ratios.amin()
    best = lengths[bounds <= 2 * bounds.amin()]
    weights = (best * ratios).mean(dim=0)
    return weights / weights.sum()
