"""Rows with the largest gradient of the loss."""

from typing import cast

import torch
from torch import Tensor

from unlearn_pl.data.selection.pool import Pool
from unlearn_pl.data.selection.selector import ScoreSelector
from unlearn_pl.functional.scored_rows import over_scored
from unlearn_pl.types import Batch, LanguageView, Need, View


class GradientNorm(ScoreSelector):
    """Keeps the rows whose loss has the largest gradient with respect to the logits: EL2N.

    The score of a row is ``mean_t ||softmax(logits_t) - one-hot(label_t)||_2`` over its scored tokens. That is the norm
    of the gradient of each token's NLL, and needs no backward pass through the model.

    Args:
        keep: share of the rows that are kept, above 0 and at most 1.
        lowest: keep those with the smallest gradients instead.

    References:
        Paul et al., Deep Learning on a Data Diet: Finding Important Examples Early in Training, NeurIPS 2021, arXiv
        2107.07075, section 2. GraNd is the norm with respect to all weights; EL2N approximates it.
        Pal et al., arXiv 2504.10185, select forget rows by GraNd.
    """

    uses_model = True

    def scores(self, pool: Pool) -> Tensor:
        """The mean norm of every row, ``[N]``; NaN without a scored token."""
        return pool.measured(frozenset({Need("logits")}), gradient_norms)


def gradient_norms(view: View, batch: Batch) -> Tensor:
    """``mean_t ||softmax(logits_t) - one-hot(label_t)||_2`` of a :class:`~unlearn_pl.types.LanguageView`: ``[B]``."""
    view = cast(LanguageView, view)
    assert view.logits is not None
    norms = torch.zeros(view.mask.shape, dtype=torch.float64, device=view.mask.device)
    norms[view.mask] = over_scored(_gradient_norm, view.mask, view.logits, view.labels).double()
    return norms.sum(dim=-1) / view.mask.sum(dim=-1)


def _gradient_norm(logits: Tensor, labels: Tensor) -> Tensor:
    """``||softmax(logits) - one-hot(label)||_2`` of rows ``[n, V]``, ``[n]``."""
    probability = logits.float().softmax(dim=-1)
    at_label = -torch.ones_like(labels, dtype=probability.dtype).unsqueeze(-1)
    return probability.scatter_add(-1, labels.unsqueeze(-1), at_label).norm(dim=-1)
