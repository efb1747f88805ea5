"""Low-rank approximation of a matrix whose rows have weights."""

import torch
from torch import Tensor

STABILIZER = 1e-5
"""Added to the weights of rows before they divide, as in the authors' code of LoKU."""


def weighted_low_rank(weight: Tensor, importance: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Two factors whose product comes closest to ``weight`` where the rows are important.

    With ``s = sqrt(sum of importance over each row)`` and the largest singular values of ``diag(s) W = U S V^T``:
    ``B = diag(1 / (s + 1e-5)) U sqrt(S)`` and ``A = sqrt(S) V^T``. Their product ``B A`` minimizes
    ``|diag(s) (W - B A)|`` over all matrices of that rank, up to the stabilizer.

    Args:
        weight: ``[out, in]``.
        importance: ``[out, in]``, not negative.
        rank: number of columns of ``B``, at most the smaller side of ``weight``.

    Returns:
        ``B [out, rank]`` and ``A [rank, in]``, fp32 or better; the first ``r`` columns and rows are the factors of
        rank ``r``.

    Raises:
        ValueError: if ``rank`` is out of range.

    References:
        Cha et al., Towards Robust and Parameter-Efficient Knowledge Unlearning for LLMs (LoKU), ICLR 2025,
        arXiv 2408.06621: its initialization of adapters (FILA).

    Example:
        >>> weight = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
        >>> b, a = weighted_low_rank(weight, torch.tensor([[4.0, 0.0], [1.0, 0.0]]), 1)
        >>> (b @ a).round(decimals=3)  # the first row counts twice as much: 2 * 2 > 1 * 3
        tensor([[2., 0.],
                [0., 0.]])
    """
    if not 1 <= rank <= min(weight.shape):
        raise ValueError(f"rank is {rank}; accepted for a matrix {list(weight.shape)}: 1 to {min(weight.shape)}.")
    weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
    scale = importance.to(weight.dtype).sum(dim=1).sqrt()
    left, singular, right = torch.linalg.svd(scale.unsqueeze(-1) * weight, full_matrices=False)
    root = singular[:rank].sqrt()
    return left[:, :rank] * root / (scale.unsqueeze(-1) + STABILIZER), root.unsqueeze(-1) * right[:rank]
