"""Membership inference: which texts a model was trained on, inferred from the log-probabilities it assigns to them.

An attack gives every sequence a score. **High means non-member**: the text is unlikely, so it looks unseen. The
members are the forget set, which the target model was trained on; the non-members are a holdout set of the same kind
that no model has seen. :func:`auc` measures how well a score separates them, :func:`priv_leak` compares this with the
retain model, which was never trained on the forget set.

Scores are fp64 and depend on the scored tokens alone: the side of the padding and the rest of the batch do not matter.
A sequence without scored tokens gives NaN, a NaN at a scored position is kept, and a probability of 0 gives an infinite
score.
"""

import math
import zlib
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from unlearn_pl.functional.evaluation.compat import Compat, follows_openunlearning, without_last
from unlearn_pl.functional.logprobs import expected_value, upcast


def loss_attack(logps: Tensor, mask: Tensor) -> Tensor:
    """``-1/N sum_t log p_t``, the mean NLL of the scored tokens; high = non-member.

    Args:
        logps: ``[B, T-1]`` log-probabilities of the labels.
        mask: ``[B, T-1]`` True where a token is scored.

    Returns:
        ``[B]`` in ``[0, inf]``.

    Example:
        >>> loss_attack(torch.tensor([[-1.0, -3.0, 0.0]]), torch.tensor([[True, True, False]])).item()
        2.0

    References:
        Yeom et al., Privacy Risk in Machine Learning, CSF 2018, arXiv 1709.01604.
    """
    return -logps.double().masked_fill(~mask, 0.0).sum(dim=-1) / mask.sum(dim=-1)


def zlib_attack(logps: Tensor, mask: Tensor, texts: Sequence[str]) -> Tensor:
    """``NLL / |zlib(text)|``, the mean NLL of the scored tokens per byte of the compressed text; high = non-member.

    Args:
        logps: ``[B, T-1]`` log-probabilities of the labels.
        mask: ``[B, T-1]`` True where a token is scored.
        texts: B texts: the scored tokens without special tokens.

    Returns:
        ``[B]`` in ``[0, inf]``.

    Raises:
        ValueError: if there are not B texts.

    References:
        Carlini et al., Extracting Training Data from Large Language Models, USENIX Security 2021, arXiv 2012.07805.
    """
    if len(texts) != len(logps):
        raise ValueError(f"The zlib attack needs the text of every sequence; got {len(texts)} for {len(logps)}.")
    sizes = [len(zlib.compress(text.encode())) for text in texts]
    return loss_attack(logps, mask) / torch.tensor(sizes, dtype=torch.float64, device=logps.device)


def reference_attack(logps: Tensor, ref_logps: Tensor, mask: Tensor) -> Tensor:
    """``NLL - NLL_ref``: how much less likely a text is than under a reference model; high = non-member.

    Args:
        logps: ``[B, T-1]`` log-probabilities of the labels.
        ref_logps: ``[B, T-1]`` the same under a model that has seen neither members nor non-members.
        mask: ``[B, T-1]`` True where a token is scored.

    Returns:
        ``[B]``; NaN where both probabilities are 0. MUSE's code uses the ratio instead of the difference.

    References:
        Carlini et al., Extracting Training Data from Large Language Models, USENIX Security 2021, arXiv 2012.07805
        (the ratio); the difference is OpenUnlearning's.
    """
    return loss_attack(logps, mask) - loss_attack(ref_logps, mask)


def gradient_norm_attack(gradients: Iterable[Tensor], compat: Compat = None) -> float:
    """``||d NLL / d theta||_2``, the norm of the gradient of one sequence's mean NLL; high = non-member.

    Texts that a model was trained on have smaller gradients.

    With ``compat="openunlearning"``:

    - the result is the mean of the norms of the individual parameters instead of the norm over all of them;
    - to match its numbers, the NLL must exclude the last label of the sequence.

    Args:
        gradients: one ``[...]`` for every parameter that the NLL depends on.
        compat: conventions to follow.

    Returns:
        A number, not negative; NaN without parameters.

    Raises:
        ValueError: if ``compat`` is unknown.

    Example:
        >>> gradient_norm_attack([torch.tensor([3.0]), torch.tensor([[0.0, 4.0]])])
        5.0

    References:
        Wang et al., Pandora's White-Box: Precise Training Data Detection and Extraction in Large Language Models,
        2024, arXiv 2402.17012.
    """
    norms = [torch.linalg.vector_norm(gradient, dtype=torch.float64) for gradient in gradients]
    if not norms:
        return math.nan
    stacked = torch.stack(norms)
    return (stacked.mean() if follows_openunlearning(compat) else torch.linalg.vector_norm(stacked)).item()


def min_k(logps: Tensor, mask: Tensor, k: float = 0.4, compat: Compat = None) -> Tensor:
    """``-mean log p_t`` over the ``max(1, floor(k N))`` least likely of ``N`` scored tokens; high = non-member.

    A text from the training data has few surprising tokens. MUSE takes ``floor(k N)`` tokens, and cannot score a text
    for which that is 0.

    With ``compat="openunlearning"``:

    - the last label of every sequence is dropped, on the assumption that it is the one that ends the answer;
    - the score is 0 where nothing is scored.

    Args:
        logps: ``[B, T-1]`` log-probabilities of the labels.
        mask: ``[B, T-1]`` True where a token is scored.
        k: share of the tokens, above 0 and at most 1; MUSE's is .4. At 1 it is the loss.
        compat: conventions to follow.

    Returns:
        ``[B]`` in ``[0, inf]``, at least the loss.

    Raises:
        ValueError: if ``k`` is out of range or ``compat`` unknown.

    Example:
        >>> min_k(torch.tensor([[-1.0, -5.0, -0.5, -3.0]]), torch.ones(1, 4, dtype=torch.bool), k=0.5).item()
        4.0

    References:
        Shi et al., Detecting Pretraining Data from Large Language Models, ICLR 2024, arXiv 2310.16789 (Min-K% Prob);
        Shi et al., MUSE, arXiv 2407.06460.
    """
    return _lowest_mean(logps, mask, k, compat)


def min_k_plus_plus(
    logps: Tensor,
    mean: Tensor,
    variance: Tensor,
    mask: Tensor,
    k: float = 0.4,
    compat: Compat = None,
    min_variance: float = 1e-6,
) -> Tensor:
    """``-mean z_t`` over the ``max(1, floor(k N))`` least ``z_t = (log p_t - mu_t) / sigma_t``; high = non-member.

    ``mu_t`` and ``sigma_t^2`` are mean and variance of the log-probability of a token that is sampled from the model at
    that position, see :func:`log_prob_moments`. Each label is thus compared with the alternatives at its position.

    ``compat`` is as in :func:`min_k`.

    Args:
        logps: ``[B, T-1]`` log-probabilities of the labels.
        mean: ``[B, T-1]`` ``mu_t``.
        variance: ``[B, T-1]`` ``sigma_t^2``.
        mask: ``[B, T-1]`` True where a token is scored.
        k: share of the tokens, above 0 and at most 1.
        compat: conventions to follow.
        min_variance: variances below it are raised to it, as in OpenUnlearning. The paper has none: where one token is
            certain, or all are equally likely, its ``z_t`` is 0/0.

    Returns:
        ``[B]``, of either sign.

    Raises:
        ValueError: if ``k`` is out of range, ``min_variance`` not positive, or ``compat`` unknown.

    References:
        Zhang et al., Min-K%++: Improved Baseline for Detecting Pre-Training Data from Large Language Models,
        arXiv 2404.02936.
    """
    if not min_variance > 0:
        raise ValueError(f"min_variance must be positive, but is {min_variance}.")
    scores = (logps.double() - mean.double()) / variance.double().clamp(min=min_variance).sqrt()
    return _lowest_mean(scores, mask, k, compat)


@torch.no_grad()
def log_prob_moments(logits: Tensor, mask: Tensor, chunk_size: int = 256) -> tuple[Tensor, Tensor]:
    """``mu = sum_v p_v log p_v`` and ``sigma^2 = sum_v p_v (log p_v - mu)^2`` of ``p = softmax(logits)``.

    Only scored positions are read, in chunks, so that no second ``[B, T-1, V]`` tensor exists.

    Args:
        logits: ``[B, T-1, V]`` aligned with the labels, as in :class:`~unlearn_pl.types.LanguageView`.
        mask: ``[B, T-1]`` True where a token is scored.
        chunk_size: number of positions that are upcast at a time.

    Returns:
        Mean in ``[-log V, 0]`` and variance, not negative, each ``[B, T-1]`` fp32 or better; 0 where not scored.

    Raises:
        ValueError: if ``chunk_size`` is below 1.

    Example:
        >>> mean, variance = log_prob_moments(torch.zeros(1, 1, 4), torch.tensor([[True]]))
        >>> mean, variance
        (tensor([[-1.3863]]), tensor([[0.]]))
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, but is {chunk_size}.")
    mean = logits.new_zeros(mask.shape, dtype=torch.promote_types(logits.dtype, torch.float32))
    variance = torch.zeros_like(mean)
    for rows, positions in (chunk.unbind(dim=1) for chunk in mask.nonzero().split(chunk_size)):
        logps = torch.log_softmax(upcast(logits[rows, positions]), dim=-1)
        mu = expected_value(logps, logps)
        mean[rows, positions] = mu
        # Around the mean, not as a difference of squares, which is rounding noise where tokens are equally likely.
        variance[rows, positions] = expected_value(logps, (logps - mu.unsqueeze(-1)).square())
    return mean, variance


def auc(member_scores: Tensor | Sequence[float], nonmember_scores: Tensor | Sequence[float]) -> float:
    """``P(s < s') + P(s = s') / 2`` of a member's score ``s`` and a non-member's ``s'``: the area under the ROC curve.

    Computed by counting, exact with ties and infinite scores (Mann-Whitney). 1: the attack separates all members from
    all non-members, so the forget set leaks. 1/2: it cannot distinguish them. Below 1/2: members look less seen than
    texts that were never seen, a sign of excessive unlearning. MUSE's AUC is 1 minus this one; OpenUnlearning's equals
    it.

    Args:
        member_scores: ``[n]`` scores of members (the forget set), high = non-member.
        nonmember_scores: ``[m]`` scores of non-members (the holdout set).

    Returns:
        A number from 0 to 1; NaN if a score is NaN.

    Raises:
        ValueError: if there are no members or no non-members.

    Example:
        >>> auc([1.0, 2.0], [2.0, 3.0])
        0.875
    """
    members, others = (torch.as_tensor(s, dtype=torch.float64).cpu() for s in (member_scores, nonmember_scores))
    if len(members) == 0 or len(others) == 0:
        raise ValueError(f"An AUC needs members and non-members; got {len(members)} and {len(others)}.")
    if members.isnan().any() or others.isnan().any():
        return math.nan
    members = members.sort().values
    below = torch.searchsorted(members, others, right=False).sum()
    up_to = torch.searchsorted(members, others, right=True).sum()
    return (below + up_to).item() / (2 * len(members) * len(others))


def priv_leak(auc: float, auc_retain: float, compat: Compat = None) -> float:
    """``100 [(1 - AUC) - (1 - AUC_retain)] / (1 - AUC_retain)``: privacy leakage in percent; 0 is best.

    Negative: the forget set is still recognized as seen; -100 if always. Positive: it looks less seen than to a model
    that was never trained on it. Both reveal that it was once part of the training data.

    With ``compat="openunlearning"``:

    - 1e-10 is added to the denominator.

    Args:
        auc: :func:`auc` of the unlearned model, members = forget set, non-members = holdout set. MUSE's is 1 minus it.
        auc_retain: the same of the retain model; OpenUnlearning uses .5 without one.
        compat: conventions to follow.

    Returns:
        From -100 to ``100 AUC_retain / (1 - AUC_retain)``; for ``AUC_retain = 1``, infinite, or NaN if ``AUC`` is 1 as
        well.

    Raises:
        ValueError: if an AUC is not in ``[0, 1]`` (NaN gives NaN), or ``compat`` is unknown.

    Example:
        >>> priv_leak(auc=1.0, auc_retain=0.5), priv_leak(auc=0.5, auc_retain=0.5)
        (-100.0, 0.0)

    References:
        Shi et al., MUSE: Machine Unlearning Six-Way Evaluation for Language Models, ICLR 2025, arXiv 2407.06460.
    """
    for given in (auc, auc_retain):
        if given < 0 or given > 1:
            raise ValueError(f"An AUC is between 0 and 1; got {auc} and {auc_retain}.")
    hidden, hidden_retain = 1 - auc, 1 - auc_retain
    denominator = hidden_retain + 1e-10 if follows_openunlearning(compat) else hidden_retain
    if denominator == 0:
        return math.nan if hidden == 0 or math.isnan(hidden) else math.inf
    return (hidden - hidden_retain) / denominator * 100


def _lowest_mean(values: Tensor, mask: Tensor, k: float, compat: Compat) -> Tensor:
    """``-mean`` of the lowest share ``k`` of the scored values of every row, at least one: ``[B, T-1] -> [B]``."""
    if not 0 < k <= 1:
        raise ValueError(f"k is a share of the tokens, above 0 and at most 1, but is {k}.")
    as_openunlearning = follows_openunlearning(compat)
    if as_openunlearning:
        mask = without_last(mask)
    values, count = values.double(), mask.sum(dim=-1, keepdim=True)
    taken = (k * count.double()).floor().clamp(min=1)
    lowest = values.masked_fill(~mask, torch.inf).sort(dim=-1).values
    is_taken = torch.arange(values.shape[-1], device=values.device) < taken
    score = -(lowest.masked_fill(~is_taken, 0.0).sum(dim=-1) / taken.squeeze(-1))
    # Sorting puts NaN last, outside of the lowest values.
    score = score.masked_fill((mask & values.isnan()).any(dim=-1), torch.nan)
    return score.masked_fill(count.squeeze(-1) == 0, 0.0 if as_openunlearning else torch.nan)
