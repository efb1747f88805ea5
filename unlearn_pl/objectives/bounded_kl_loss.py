"""Bounded divergence from a model that never saw the forget set (RAUL)."""

from torch import Tensor

from unlearn_pl.functional import skewed_kl_divergence
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView


class BoundedKLLoss(Objective):
    """``KL(q || (1 - a) q + a p)``, mean over the scored tokens: pulls the model toward ``q``.

    ``q`` is the uniform distribution, or that of a held-out model: a reference model that was never trained on the
    forget set, ``FrozenReference(model=...)``. Mixing ``q`` into the model bounds the loss by ``-log(1 - a)``.

    Args:
        skew: ``a``, between 0 and 1; the bound grows with it, and near 1 the loss is the plain ``KL(q || p)``.
        held_out: take ``q`` from the reference model; otherwise it is uniform and no reference model is needed.
        stream: overrides ``forget``.

    Raises:
        ValueError: if ``skew`` is not between 0 and 1.

    References:
        Khosrowshahli et al., Multi-Objective Reference-Aligned Machine Unlearning (RAUL), arXiv 2606.00399. Our
        reading of its abstract, which aligns classifiers with a uniform or a held-out distribution by a bounded
        divergence: this bound and the model as held-out reference are ours.
    """

    stream = "forget"
    role = "forget"
    needs = frozenset({"logits"})

    def __init__(self, skew: float = 0.5, held_out: bool = False, stream: str | None = None) -> None:
        super().__init__(stream)
        if not 0 < skew < 1:
            raise ValueError(f"skew is {skew}, but must be between 0 and 1.")
        if held_out:
            self.needs = frozenset({"logits", "ref_logits"})
        self.skew = skew
        self.held_out = held_out

    def loss(self, view: LanguageView) -> Tensor:
        """The mean divergence in nats, ``[]``."""
        assert view.logits is not None
        uniform = view.logits.new_zeros(()).expand_as(view.logits)
        reference = view.ref_logits if self.held_out else uniform
        assert reference is not None
        return skewed_kl_divergence(view.logits, reference, view.mask, self.skew)
