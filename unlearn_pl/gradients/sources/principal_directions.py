"""Mean and principal components of vectors that arrive in parts, in the memory of a few of them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class PrincipalDirections:
    """The mean of vectors and their largest principal components, updated by batches.

    What is kept, in fp32, are the mean and ``C [r, D]``, with ``C^T C`` the centered scatter matrix, as well as r rows
    can hold it: exact as long as there are at most r independent vectors, and close to it where the spectrum falls off.

    Args:
        size: r, the number of rows that are kept.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = 0.0
        self._mean: Tensor | None = None
        self._factor: Tensor | None = None

    def add(self, vectors: Tensor, decay: float = 1.0) -> None:
        """Update with ``vectors [n, D]``; those of before count ``decay`` times as much as until now."""
        if not len(vectors):
            return
        vectors = vectors.double()
        mean, self.count = vectors.mean(dim=0), self.count * decay
        total = self.count + len(vectors)
        rows = [vectors - mean]
        if self._mean is not None and self._factor is not None:
            between = (self.count * len(vectors) / total) ** 0.5
            rows += [decay**0.5 * self._factor.to(vectors), between * (self._mean.to(vectors) - mean).unsqueeze(0)]
            mean = mean + (self.count / total) * (self._mean.to(vectors) - mean)
        self._mean, self._factor = mean.float(), _largest(torch.cat(rows), self.size).float()
        self.count = total

    def basis(self, number: int) -> Tensor:
        """An orthonormal basis of the mean and the ``number - 1`` largest components: ``[D, k]`` fp64, k at most that.

        Directions in which nothing has been seen are left out.
        """
        assert self._mean is not None
        assert self._factor is not None
        directions = torch.cat([self._mean.unsqueeze(0), self._factor[: number - 1]]).double()
        lengths = directions.norm(dim=1, keepdim=True)
        directions = (directions / lengths.clamp(min=torch.finfo(torch.float64).tiny))[lengths.squeeze(1) > 0]
        _, values, basis = torch.linalg.svd(directions, full_matrices=False)
        return basis[values > 1e-6].T

    def state_dict(self) -> dict[str, Any]:
        """What is kept."""
        return {"count": self.count, "mean": self._mean, "factor": self._factor}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with what was kept."""
        self.count, self._mean, self._factor = state["count"], state["mean"], state["factor"]


def _largest(rows: Tensor, size: int) -> Tensor:
    """``C [r, D]`` with ``C^T C`` the best approximation of ``rows^T rows``, the longest row first."""
    if len(rows) > rows.shape[1]:
        values, vectors = torch.linalg.eigh(rows.T @ rows)
        factor = vectors.T * values.clamp(min=0).sqrt().unsqueeze(1)
    else:  # by the products of the rows, of which there are fewer
        values, vectors = torch.linalg.eigh(rows @ rows.T)
        factor = vectors.T @ rows
    kept = values > 1e-12 * values[-1].clamp(min=0)
    return factor[kept].flip(0)[:size]
