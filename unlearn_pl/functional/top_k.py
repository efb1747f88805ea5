"""Top-k distributions: the most probable tokens and the mass of the rest, completed later from another one."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from unlearn_pl.functional.logprobs import upcast

LOWEST = -1e4
"""Log-probability that stands for a probability of 0: its exponential is 0 in every dtype, and it is finite."""


class TopK(NamedTuple):
    """Next-token distributions at N positions, of which k tokens are known.

    Attributes:
        tokens: ``[N, k]`` ids of the known tokens.
        logps: ``[N, k]`` their log-probabilities.
        rest: ``[N]`` log-probability of all other tokens together; ``-inf`` without any.
    """

    tokens: Tensor
    logps: Tensor
    rest: Tensor


def top_k_log_probs(logits: Tensor, labels: Tensor, k: int) -> TopK:
    """The ``k`` most probable tokens of ``softmax(logits)``, the label among them, and the mass of the rest.

    Args:
        logits: ``[N, V]``.
        labels: ``[N]`` tokens that are always kept, if necessary instead of the least probable of the k.
        k: number of tokens; the whole vocabulary if it is smaller.

    Returns:
        Tokens and log-probabilities ``[N, k]`` and the rest ``[N]``, fp32 or better.

    Example:
        >>> top_k_log_probs(torch.tensor([[3.0, 2.0, 1.0, 0.0]]), torch.tensor([3]), k=2).tokens
        tensor([[0, 3]])
    """
    logps = torch.log_softmax(upcast(logits), dim=-1)
    tokens = logps.topk(min(k, logps.shape[-1]), dim=-1).indices
    without_label = (tokens != labels.unsqueeze(-1)).all(dim=-1)
    tokens[:, -1] = torch.where(without_label, labels, tokens[:, -1])
    return TopK(tokens, logps.gather(-1, tokens), _log_rest(logps, tokens).squeeze(-1))


@torch.no_grad()
def complete_top_k(known: TopK, logits: Tensor) -> Tensor:
    """``log q(v)`` of the known tokens, and ``log p(v) + log(q_rest / p_rest)`` of all others; ``p = softmax(logits)``.

    The others share the remaining mass in the proportions of ``p``. For the resulting ``q``, ``KL(q || p)`` and its
    gradient with respect to the logits are those of the divergence between the coarser events
    {each known token, the rest}, and so for every f-divergence, such as Jensen-Shannon's. It is a lower bound of the
    divergence from the whole distribution, equals it when all tokens are known, and is 0, with a gradient of 0, where
    the two distributions are equal.

    Args:
        known: tokens ``[N, k]`` and mass at N positions.
        logits: ``[N, V]``; no gradient flows into them.

    Returns:
        ``[N, V]`` log-probabilities, fp32 or better and finite: a probability of 0 is ``exp(-1e4)``.

    Example:
        >>> known = TopK(torch.tensor([[0]]), torch.tensor([0.5]).log()[None], torch.tensor([0.5]).log())
        >>> complete_top_k(known, torch.tensor([[0.8, 0.1, 0.1]]).log()).exp()
        tensor([[0.5000, 0.2500, 0.2500]])
    """
    logps = torch.log_softmax(upcast(logits), dim=-1)
    own_rest, rest = _log_rest(logps, known.tokens), known.rest.to(logps.dtype).unsqueeze(-1)
    unknown = max(1, logps.shape[-1] - known.tokens.shape[-1])
    # Where p leaves no mass for the others, it gives no proportions: they share equally.
    others = torch.where(own_rest.isfinite(), logps + (rest - own_rest), rest - math.log(unknown))
    return others.scatter(-1, known.tokens, known.logps.to(logps.dtype)).clamp(min=LOWEST)


def _log_rest(logps: Tensor, tokens: Tensor) -> Tensor:
    """Log-probability ``[N, 1]`` of all but ``tokens [N, k]``."""
    return logps.scatter(-1, tokens, -torch.inf).logsumexp(dim=-1, keepdim=True)
