"""The mean of the dual basis of the gradients, from their Gramian."""

import torch
from torch import Tensor


def dual_basis_weights(gramian: Tensor, unit: bool = True, rtol: float = 1e-10) -> Tensor:
    """``w = M diag(M)^(-1/2) 1 / K`` with ``M = G^+``: the mean direction of the dual vectors of the gradients.

    The dual vector ``p_k`` of ``g_k`` is its component orthogonal to all the other gradients. In Gramian form
    ``p_k = sum_i (M_ik / M_kk) g_i`` and ``|p_k|^2 = 1 / M_kk``. Stepping along ``-mean_k p_k / |p_k|`` descends every
    objective strictly when ``G`` is regular: ``g_k . d = 1 / (K sqrt(M_kk))``. Weights may be negative.

    Args:
        gramian: ``[K, K]`` symmetric positive semi-definite, on any device. Zero rows get weight 0.
        unit: average unit dual vectors; otherwise the unscaled dual vectors, ``w = M diag(M)^(-1) 1 / K``.
        rtol: eigenvalues of the matrix of cosines below ``rtol`` times the largest count as 0.

    Returns:
        ``[K]`` fp64 on the CPU; NaN if an entry is not finite.

    Raises:
        ValueError: if the matrix is not square.

    Example:
        >>> dual_basis_weights(torch.tensor([[1.0, 0.0], [0.0, 4.0]]))
        tensor([0.5000, 0.2500], dtype=torch.float64)

    References:
        Pan et al., MOLLM, ICASSP 2025, arXiv 2412.20412: our reading of its dual space MGDA (DS-MGDA).
    """
    if gramian.ndim != 2 or gramian.shape[0] != gramian.shape[1]:
        raise ValueError(f"gramian has shape {list(gramian.shape)}, but must be [K, K].")
    gramian = gramian.detach().to("cpu", torch.float64)
    if not gramian.isfinite().all():
        return torch.full_like(gramian.diagonal(), torch.nan)
    norms = gramian.diagonal().clamp(min=0.0).sqrt()
    nonzero = norms > 0
    weights = torch.zeros_like(norms)
    if nonzero.any():
        weights[nonzero] = _regular(gramian[nonzero][:, nonzero], norms[nonzero], unit, rtol)
    return weights


def _regular(gramian: Tensor, norms: Tensor, unit: bool, rtol: float) -> Tensor:
    scale = norms.outer(norms)
    # On the cosines, rtol measures linear dependence, regardless of the norms.
    values, vectors = torch.linalg.eigh(gramian / scale)
    kept = values > rtol * values[-1]
    inverse = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T / scale
    dual_norms = inverse.diagonal().rsqrt()
    return inverse @ (dual_norms if unit else dual_norms**2) / len(norms)
