"""Jensen-Shannon divergence from a refusal (the forget side of JensUn)."""

from torch import Tensor

from unlearn_pl.functional import cycled_labels, label_log_probs, one_hot_js_divergence
from unlearn_pl.host_copies import on_both
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView


class RefusalJensenShannonLoss(Objective):
    """``JS(p, one-hot at a refusal token)`` after the forget answer's own tokens, mean over its tokens.

    The refusal's tokens are the targets of the forget answer's positions in turn, again from the first one where the
    answer is longer: after each beginning of the answer, the model learns to go on with the refusal. In closed form
    ``log 2 + (p log p - (1 + p) log(1 + p)) / 2`` of the target's probability. Bounded in ``[0, log 2]``; the gradient
    vanishes where a refusal is still impossible, so early steps are small.

    Args:
        with_end: whether the refusal's last token, which ends the turn, is among the targets.
        forget: stream of the forget answers.
        alternate: stream of the refusals, with the same examples in the same order. Only their tokens are read.

    References:
        Singh et al., Unlearning That Lasts: Utility-Preserving, Robust, and Almost Irreversible Forgetting in LLMs,
        arXiv 2509.02820 (JensUn): the authors' code of 2026-03. Its targets are the tokens of "No idea" for every
        question, without an end; its variant ``JensUnEOT`` has one. Probabilities below 1e-9, which it raises to 1e-9,
        stay as they are. Its earlier version scored prompt and padding as well, and gave every position the sum of the
        one-hot vectors as its target.
    """

    stream = ("forget", "forget.alternate")
    role = "forget"
    needs = frozenset({"logits"})

    def __init__(self, with_end: bool = False, forget: str = "forget", alternate: str = "forget.alternate") -> None:
        super().__init__()
        self.with_end = with_end
        self.stream = (forget, alternate)

    @property
    def progress_stream(self) -> str:
        """The forget answers."""
        return self.streams[0]

    def loss(self, forget: LanguageView, alternate: LanguageView) -> Tensor:
        """The mean divergence in nats, ``[]``; an answer without a refusal counts as 0."""
        assert forget.logits is not None
        cycle = alternate.mask if self.with_end else on_both(_without_end, alternate.mask)
        used = on_both(_with_targets, forget.mask, cycle)
        targets = cycled_labels(alternate.labels, cycle, forget.mask)
        logps = label_log_probs(forget.logits, targets, used)
        # Where nothing is scored, a log-probability of 0 is a divergence of 0.
        return one_hot_js_divergence(logps.new_zeros(used.shape).masked_scatter(used, logps), forget.mask)


def _with_targets(mask: Tensor, cycle: Tensor) -> Tensor:
    """``mask [B, T]`` in the rows for which ``cycle [B, T']`` has an entry."""
    return mask & cycle.any(dim=-1, keepdim=True)


def _without_end(mask: Tensor) -> Tensor:
    """``mask [B, T]`` without the last True entry of every row that has more than one."""
    to_come = mask.flip(-1).cumsum(dim=-1).flip(-1)
    return mask & ((to_come > 1) | (mask.sum(dim=-1, keepdim=True) == 1))
