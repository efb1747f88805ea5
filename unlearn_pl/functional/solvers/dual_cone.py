"""The exact closest direction that increases no objective, from the Gramian of the gradients."""

import torch
from torch import Tensor

from unlearn_pl.functional.solvers.min_norm import MAX_OBJECTIVES

INFEASIBLE = 1e-6
"""Margins that are missed by more than this fraction of the required changes count as infeasible."""


def dual_cone_projection(gramian: Tensor, preference: Tensor, margins: Tensor | None = None) -> Tensor:
    """``argmin_v |J^T (v - u)|^2`` subject to ``g_k . J^T v >= m_k``, with ``v >= u``.

    With ``m = 0``, the default, ``d = J^T v`` is the projection of ``J^T u`` on the dual cone of the gradients, and a
    step along ``-d`` increases no objective to first order. ``d = J^T u`` if that meets the constraints already.

    The solution is exact, deterministic, and depends on the lengths of the gradients only through ``J^T u``. Several
    ``v`` with the same ``d`` are averaged, so that duplicates share their weight. Zero rows keep their ``u_k``.

    Args:
        gramian: ``[K, K]`` matrix ``G = J J^T``, on any device; rounding errors are tolerated.
        preference: ``[K]`` weights ``u`` of the direction that is projected.
        margins: ``[K]`` least decrease ``m_k`` of every objective; ``-inf`` for those without a constraint.

    Returns:
        ``[K]`` fp64 on the CPU: ``v``; zeros if no direction meets the margins, NaN if an entry of the Gramian or the
        preference is not finite, or a margin is NaN.

    Raises:
        ValueError: if shapes do not fit, or K is 0 or above 8.

    Example:
        >>> dual_cone_projection(torch.tensor([[1.0, -1.0], [-1.0, 2.0]]), torch.tensor([1.0, 0.0]))
        tensor([1.0000, 0.5000], dtype=torch.float64)

    References:
        Lopez-Paz & Ranzato, Gradient episodic memory for continual learning, NeurIPS 2017, arXiv 1706.08840, section 3
        (the quadratic program and its dual); Quinton & Rey, Jacobian descent for multi-objective optimization,
        arXiv 2406.16232, equation 3 and proposition 1 (in Gramian form).
    """
    size = len(preference)
    margins = torch.zeros(size) if margins is None else margins
    if not 1 <= size <= MAX_OBJECTIVES or gramian.shape != (size, size) or margins.shape != (size,):
        raise ValueError(
            f"gramian {list(gramian.shape)}, preference {list(preference.shape)} and margins {list(margins.shape)} were"
            f" given, but must be [K, K], [K] and [K] with 1 <= K <= {MAX_OBJECTIVES} objectives."
        )
    gramian, preference, margins = (x.detach().to("cpu", torch.float64) for x in (gramian, preference, margins))
    if not gramian.isfinite().all() or not preference.isfinite().all() or margins.isnan().any():
        return torch.full_like(preference, torch.nan)
    norms = gramian.diagonal().clamp(min=0.0).sqrt()
    nonzero = norms > 0
    if (margins[~nonzero] > 0).any():
        return torch.zeros_like(preference)
    weights = preference.clone()
    if nonzero.any():
        gramian, norms = gramian[nonzero][:, nonzero], norms[nonzero]
        changes = gramian @ weights[nonzero] - margins[nonzero]
        multipliers = _multipliers(gramian / norms.outer(norms), changes / norms)
        if multipliers is None:
            return torch.zeros_like(preference)
        weights[nonzero] += multipliers / norms
    return weights


def _multipliers(cosines: Tensor, changes: Tensor) -> Tensor | None:
    """``y >= 0`` with ``s = C y + q >= 0`` and ``y . s = 0`` (the KKT conditions), by trying every support of ``y``.

    Lengths ``y`` are along unit gradients, so that norms which differ by many orders of magnitude cost no digits.
    Dependent supports may be singular; some independent one is always optimal, if there is a solution.
    """
    size = len(changes)
    supports = ((torch.arange(2**size).unsqueeze(1) >> torch.arange(size)) & 1).bool()
    inside = supports.unsqueeze(2) & supports.unsqueeze(1)
    system = torch.where(inside, cosines, torch.eye(size, dtype=torch.float64))
    solutions, _ = torch.linalg.solve_ex(system, torch.where(supports, -changes, 0.0))

    # Violations of each candidate, as lengths. Adding their rounding error keeps long detours from winning by chance.
    violated = torch.maximum(-solutions, -(solutions @ cosines + changes)).amax(dim=1).clamp(min=0.0)
    violated = violated.nan_to_num(nan=torch.inf)
    largest = changes[changes.isfinite()].abs().sum()
    if violated.amin() > INFEASIBLE * largest:
        return None
    bounds = (violated + 1e-16 * solutions.abs().sum(dim=1)).nan_to_num(nan=torch.inf)
    best = solutions[bounds <= 2 * bounds.amin()]
    return best.clamp(min=0.0).mean(dim=0)
