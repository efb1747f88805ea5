"""Sparse weights, or a sparse change of the weights."""

from unlearn_pl.callbacks.sparsity.l1_sparse import L1Sparse

__all__ = ["L1Sparse"]
