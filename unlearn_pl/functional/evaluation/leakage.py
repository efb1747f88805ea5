"""Chance that one of k sampled answers leaks, and the expected best of k scores, from n samples."""

from math import comb

import torch
from torch import Tensor


def leak_at_k(leaks: Tensor, samples: int, k: int) -> Tensor:
    """``1 - C(n - c, k) / C(n, k)``: the chance that at least one of k sampled answers leaks, unbiased.

    It is the mean over all subsets of k of the n sampled answers, of which c leak.

    Args:
        leaks: ``[...]`` number c of sampled answers that leak, per question.
        samples: number n of sampled answers per question.
        k: number of answers that an attacker draws, 1 to n.

    Returns:
        ``[...]`` fp64 in [0, 1].

    Raises:
        ValueError: if ``k`` is not in 1 to ``samples`` (the authors' code returns 0 for more, which reads as if
            nothing leaked), or a number of leaks is not in 0 to ``samples``.

    Example:
        >>> leak_at_k(torch.tensor([0, 1, 3]), samples=4, k=2)
        tensor([0.0000, 0.5000, 1.0000], dtype=torch.float64)

    References:
        The metric: "Leak@k", arXiv 2511.04934. The estimator: Chen et al., "Evaluating Large Language Models Trained
        on Code", arXiv 2107.03374 (pass@k).
    """
    _check_k(k, samples)
    counts = leaks.long()
    if ((counts < 0) | (counts > samples) | (counts != leaks)).any():
        raise ValueError(f"Numbers of leaks must be integers from 0 to samples={samples}; given are {leaks.tolist()}.")
    table = torch.tensor([1 - comb(samples - c, k) / comb(samples, k) for c in range(samples + 1)], dtype=torch.float64)
    return table.to(leaks.device)[counts]


def expected_maximum(scores: Tensor, k: int) -> Tensor:
    """``sum_j C(j - 1, k - 1) / C(n, k) s_(j)``: the expected largest of k scores, unbiased.

    ``s_(1) <= ... <= s_(n)`` are the scores of n sampled answers in order. It is the mean of the largest score over all
    subsets of k of them; for scores of 0 and 1 it is :func:`leak_at_k`.

    Args:
        scores: ``[..., n]`` score of every sampled answer.
        k: number of answers that an attacker draws, 1 to n.

    Returns:
        ``[...]`` fp64; NaN where a score is NaN.

    Raises:
        ValueError: if ``k`` is not in 1 to n.

    Example:
        >>> expected_maximum(torch.tensor([0.0, 0.5, 1.0]), k=2)
        tensor(0.8333, dtype=torch.float64)

    References:
        "Leak@k", arXiv 2511.04934, for leaks; the same argument for the order statistics of graded scores.
    """
    samples = scores.shape[-1]
    _check_k(k, samples)
    weights = [comb(rank, k - 1) / comb(samples, k) for rank in range(samples)]
    ordered = scores.double().sort(dim=-1).values
    return (ordered * torch.tensor(weights, dtype=torch.float64, device=scores.device)).sum(dim=-1)


def _check_k(k: int, samples: int) -> None:
    if not 1 <= k <= samples:
        raise ValueError(f"k={k} with {samples} sampled answers per question; accepted are 1 to {samples}.")
