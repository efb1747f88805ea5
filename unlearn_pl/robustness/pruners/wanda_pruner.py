"""Pruning of small weights with small inputs."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from unlearn_pl.attribution.input_norms import InputNorms
from unlearn_pl.robustness.pruners.pruner import Pruner
from unlearn_pl.robustness.target import Subject


class WandaPruner(Pruner):
    """Sets the weights with the smallest ``|theta_ij| * norm(x_j)`` to 0, among those of each output.

    The inputs ``x`` are those of questions and answers of the retain split: an attacker has general text, and not what
    was forgotten. Each expert of a mixture counts the tokens that are routed to it; one without any is pruned by
    magnitude alone.

    Args:
        ratio: share of the weights that become 0, above 0 and below 1.
        examples: number of rows, the first ones of the split.

    Raises:
        ValueError: if ``ratio`` or ``examples`` is out of range; from ``build``, if there is no retain split.

    References:
        Sun et al., A Simple and Effective Pruning Approach for Large Language Models, ICLR 2024, arXiv 2306.11695.
    """

    by_output = True

    def __init__(self, ratio: float = 0.5, examples: int = 128) -> None:
        super().__init__(ratio)
        if examples < 1:
            raise ValueError(f"examples={examples} must be at least 1.")
        self.examples = examples

    @property
    def name(self) -> str:
        """``Wanda``."""
        return "Wanda"

    def check(self, subject: Subject) -> None:
        """Check that there is a retain split.

        Raises:
            ValueError: if there is none.
        """
        if not subject.retain:
            raise ValueError("WandaPruner measures inputs on the retain split, and there is none; name retain_split.")

    def input_norms(self, model: nn.Module, subject: Subject) -> Mapping[str, Tensor]:
        """See :meth:`Pruner.input_norms`."""
        self.check(subject)
        norms = InputNorms(model)
        model.eval()
        try:
            for batch in subject.answer_batches(subject.retain[: self.examples]):
                model(**batch)
        finally:
            norms.close()
        # Without tokens, all weights of an expert would be equal.
        return {name: torch.where(_unseen(norm), 1.0, norm) for name, norm in norms.norms().items()}


def _unseen(norms: Tensor) -> Tensor:
    """Where a matrix has seen no tokens, bool that can be broadcast to ``norms``."""
    if norms.dim() == 3:
        return (norms == 0).flatten(1).all(dim=1).view(-1, 1, 1)
    return (norms == 0).all()
