"""Divergences of next-token distributions as losses to be minimized; finite wherever the logits are.

All of them read logits at scored positions only, in chunks. No gradient flows to the reference model.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from unlearn_pl.functional.logprobs import entropy, expected_value, masked_mean, mean_of_scored, upcast
from unlearn_pl.functional.scored_rows import over_scored


def kl_to_uniform(logits: Tensor, mask: Tensor) -> Tensor:
    """``KL(p || uniform) = log V - H(p)``, mean over the scored positions: 0 when every token is equally likely.

    It is bounded by ``log V``, and its gradient fades out where the model is certain.

    Args:
        logits: ``[B, T-1, V]`` of the model.
        mask: ``[B, T-1]`` True where a position is scored.

    Returns:
        ``[]`` in ``[0, log V]``, fp32 or better; 0, with a gradient of 0, when nothing is scored.

    Example:
        >>> kl_to_uniform(torch.tensor([[[0.0, 0.0], [1e4, 0.0]]]), torch.tensor([[False, True]]))
        tensor(0.6931)
    """
    return mean_of_scored(math.log(logits.shape[-1]) - over_scored(entropy, mask, logits), mask)


def kl_from_uniform(logits: Tensor, mask: Tensor) -> Tensor:
    """``KL(uniform || p) = -log V - mean_v log p(v)``, mean over the scored positions.

    It is unbounded, and pulls hardest where the model is certain: the gradient with respect to the logits is
    ``p - 1/V``.

    Args:
        logits: ``[B, T-1, V]`` of the model.
        mask: ``[B, T-1]`` True where a position is scored.

    Returns:
        ``[]``, not negative, fp32 or better; 0, with a gradient of 0, when nothing is scored.

    Example:
        >>> kl_from_uniform(torch.zeros(1, 2, 3), torch.tensor([[False, True]]))
        tensor(0.)
    """

    def value(row: Tensor) -> Tensor:
        return -math.log(row.shape[-1]) - torch.log_softmax(upcast(row), dim=-1).mean(dim=-1)

    return mean_of_scored(over_scored(value, mask, logits), mask)


def skewed_kl_divergence(logits: Tensor, ref_logits: Tensor, mask: Tensor, skew: float) -> Tensor:
    """``KL(q || (1 - a) q + a p)`` with the reference model's ``q``, mean over the scored positions.

    Mixing ``q`` into the model's ``p`` bounds the divergence by ``-log(1 - a)``, regardless of the model; it is 0 only
    where ``p = q``. It tends to ``KL(q || p)`` as ``a`` tends to 1.

    Args:
        logits: ``[B, T-1, V]`` of the model.
        ref_logits: ``[B, T-1, V]`` of the reference model.
        mask: ``[B, T-1]`` True where a position is scored.
        skew: ``a``, between 0 and 1.

    Returns:
        ``[]`` in ``[0, -log(1 - a)]``, fp32 or better; 0, with a gradient of 0, when nothing is scored.

    Example:
        >>> certain = torch.tensor([[[1e4, 0.0]]])
        >>> skewed_kl_divergence(-certain, certain, torch.tensor([[True]]), skew=0.5)
        tensor(0.6931)
    """

    def value(row: Tensor, ref_row: Tensor) -> Tensor:
        logps, ref_logps = _log_probs(row), _log_probs(ref_row)
        log_ratios = logps - ref_logps
        kept = torch.full_like(log_ratios, math.log1p(-skew))
        log_mixtures = torch.logaddexp(kept, math.log(skew) + log_ratios)  # log of the mixture over q
        return -(ref_logps.exp() * log_mixtures).sum(dim=-1)

    return mean_of_scored(over_scored(value, mask, logits, ref_logits), mask)


def js_divergence(logits: Tensor, ref_logits: Tensor, mask: Tensor) -> Tensor:
    """``JS(p, q) = KL(p || m) / 2 + KL(q || m) / 2`` with ``m = (p + q) / 2``, mean over the scored positions.

    Args:
        logits: ``[B, T-1, V]`` of the model, ``p``.
        ref_logits: ``[B, T-1, V]`` of the reference model, ``q``.
        mask: ``[B, T-1]`` True where a position is scored.

    Returns:
        ``[]`` in ``[0, log 2]``, fp32 or better; 0, with a gradient of 0, when nothing is scored.

    Example:
        >>> certain = torch.tensor([[[1e4, 0.0]]])
        >>> js_divergence(-certain, certain, torch.tensor([[True]]))
        tensor(0.6931)
    """

    def value(row: Tensor, ref_row: Tensor) -> Tensor:
        logps, ref_logps = _log_probs(row), _log_probs(ref_row)
        log_ratios = ref_logps - logps
        # log p - log m = log 2 - log(1 + q / p) is exactly 0 where p = q, which a difference of logarithms is not.
        to_mixture = logps.exp() * (math.log(2) - F.softplus(log_ratios))
        ref_to_mixture = ref_logps.exp() * (math.log(2) - F.softplus(-log_ratios))
        return (to_mixture + ref_to_mixture).sum(dim=-1) / 2

    return mean_of_scored(over_scored(value, mask, logits, ref_logits), mask)


def one_hot_js_divergence(logps: Tensor, mask: Tensor) -> Tensor:
    """``JS(p, one-hot at the label) = log 2 + (p log p - (1 + p) log(1 + p)) / 2``, mean over the scored tokens.

    ``p`` is the probability of the label; the rest of the distribution does not matter. The gradient is
    ``-p log(1 + 1/p) / 2`` times that of ``log p``: unlike that of cross-entropy, it vanishes where the label is
    impossible.

    Args:
        logps: ``[...]`` log-probabilities ``log p`` of the labels.
        mask: ``[...]`` True where a token is scored.

    Returns:
        ``[]`` in ``[0, log 2]``; 0, with a gradient of 0, when nothing is scored.

    Example:
        >>> one_hot_js_divergence(torch.tensor([0.0, -1e4]), torch.tensor([False, True]))
        tensor(0.6931)
    """
    logps = _finite(logps)
    probs = logps.exp()
    from_label = math.log(2) - torch.log1p(probs)
    from_model = probs * (logps + from_label) + (1 - probs) * math.log(2)
    return masked_mean((from_label + from_model) / 2, mask)


def cycled_labels(labels: Tensor, mask: Tensor, onto: Tensor) -> Tensor:
    """The scored ``labels`` of every row in turn, again from the first one, at the True positions of ``onto``.

    Args:
        labels: ``[B, S]`` token ids.
        mask: ``[B, S]`` True for the labels that take turns.
        onto: ``[B, T]`` True where a label is wanted.

    Returns:
        ``[B, T]``; arbitrary labels where ``onto`` is False, and in rows without any label in ``mask``.

    Example:
        >>> refusal, scored = torch.tensor([[5, 7, 8]]), torch.tensor([[False, True, True]])
        >>> cycled_labels(refusal, scored, torch.tensor([[False, True, True, True]]))
        tensor([[7, 7, 8, 7]])
    """
    in_front = labels.gather(-1, mask.int().argsort(dim=-1, descending=True, stable=True))
    turn = (onto.cumsum(dim=-1) - 1).clamp(min=0) % mask.sum(dim=-1, keepdim=True).clamp(min=1)
    return in_front.gather(-1, turn)


def undial_loss(logits: Tensor, ref_logits: Tensor, labels: Tensor, mask: Tensor, beta: float) -> Tensor:
    """``-sum_v q(v) log p(v)`` with ``q = softmax(ref_logits - beta * one-hot(label))``, mean over the scored tokens.

    The gradient with respect to the logits is ``p - q``.

    Args:
        logits: ``[B, T-1, V]`` of the model.
        ref_logits: ``[B, T-1, V]`` of the reference model.
        labels: ``[B, T-1]`` the token that each position predicts; only scored ones are read.
        mask: ``[B, T-1]`` True where a position is scored.
        beta: amount by which the label's logit is lowered.

    Returns:
        ``[]``, fp32 or better; 0, with a gradient of 0, when nothing is scored.

    Example:
        >>> logits, label = torch.zeros(1, 1, 2), torch.tensor([[0]])
        >>> undial_loss(logits, logits, label, torch.tensor([[True]]), beta=10.0)
        tensor(0.6931)
    """

    def value(row: Tensor, ref_row: Tensor, label: Tensor) -> Tensor:
        teacher, index = upcast(ref_row), label.unsqueeze(-1)
        lowered = teacher.scatter_add(-1, index, teacher.new_full(index.shape, -beta))
        logps = torch.log_softmax(upcast(row), dim=-1)
        return -expected_value(torch.log_softmax(lowered, dim=-1), logps)

    return mean_of_scored(over_scored(value, mask, logits, ref_logits, labels), mask)


def unilogit_loss(logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """``-sum_v q(v) log p(v)`` with ``q`` the model's own ``p``, the label moved to ``1 / V``; mean over tokens.

    In ``q``, the label's logit is such that the label is as likely as chance, and the others keep their ratios. No
    gradient flows to ``q``; that with respect to the logits is ``p - q``.

    Args:
        logits: ``[B, T-1, V]`` of the model.
        labels: ``[B, T-1]`` the token that each position predicts; only scored ones are read.
        mask: ``[B, T-1]`` True where a position is scored.

    Returns:
        ``[]``, fp32 or better; 0, with a gradient of 0, when nothing is scored.

    Example:
        >>> logits, label = torch.zeros(1, 1, 4), torch.tensor([[0]])
        >>> unilogit_loss(logits, label, torch.tensor([[True]]))  # at chance already: the entropy, log 4
        tensor(1.3863)
    """

    def value(row: Tensor, label: Tensor) -> Tensor:
        logps, index = torch.log_softmax(upcast(row), dim=-1), label.unsqueeze(-1)
        size = logps.shape[-1]
        others = logps.detach().scatter(-1, index, -torch.inf)
        target = torch.log_softmax(others, dim=-1) + math.log1p(-1 / size)
        target = target.scatter(-1, index, -math.log(size))
        return -expected_value(target, logps)

    return mean_of_scored(over_scored(value, mask, logits, labels), mask)


def inverted_hinge_loss(logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """``1 + p(y) - max_{v != y} p(v)`` of the label ``y``, mean over the scored tokens.

    It ends where another token has all the probability, and its gradient concerns two tokens: the label falls, and the
    most likely other one rises.

    Args:
        logits: ``[B, T-1, V]`` of the model.
        labels: ``[B, T-1]`` the token that each position predicts; only scored ones are read.
        mask: ``[B, T-1]`` True where a position is scored.

    Returns:
        ``[]`` in ``[0, 2]``, fp32 or better; 0, with a gradient of 0, when nothing is scored.

    Example:
        >>> inverted_hinge_loss(torch.zeros(1, 1, 4), torch.tensor([[0]]), torch.tensor([[True]]))
        tensor(1.)
    """

    def value(row: Tensor, label: Tensor) -> Tensor:
        probs, index = torch.softmax(upcast(row), dim=-1), label.unsqueeze(-1)
        others = probs.scatter(-1, index, -1.0).amax(dim=-1)
        return 1 + probs.gather(-1, index).squeeze(-1) - others

    return mean_of_scored(over_scored(value, mask, logits, labels), mask)


def logit_margin_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """``(max_v z(v) - mean_v z(v))^2`` of the logits ``z``, mean over the scored positions: 0 when they are all equal.

    Args:
        logits: ``[B, T-1, V]`` of the model, all finite.
        mask: ``[B, T-1]`` True where a position is scored.

    Returns:
        ``[]``, not negative, fp32 or better; 0, with a gradient of 0, when nothing is scored.

    Example:
        >>> logit_margin_loss(torch.tensor([[[4.0, 0.0]]]), torch.tensor([[True]]))
        tensor(4.)
    """

    def value(row: Tensor) -> Tensor:
        return (upcast(row).amax(dim=-1) - upcast(row).mean(dim=-1)).square()

    return mean_of_scored(over_scored(value, mask, logits), mask)


def _log_probs(logits: Tensor) -> Tensor:
    return _finite(torch.log_softmax(upcast(logits), dim=-1))


def _finite(logps: Tensor) -> Tensor:
    # Ratios of impossible events would be inf - inf. The bound changes no possible probability, and keeps the
    # difference of two log-probabilities finite.
    return logps.clamp(min=torch.finfo(logps.dtype).min / 4)
