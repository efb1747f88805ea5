"""Pruning attack."""

from unlearn_pl.robustness.attacks.attack import Attack, Findings
from unlearn_pl.robustness.pruners.magnitude_pruner import MagnitudePruner
from unlearn_pl.robustness.pruners.pruner import Pruner
from unlearn_pl.robustness.target import Subject


class PruningAttack(Attack):
    """Leakage of the forget and the retain split after a share of the model's weights is set to 0.

    Sparsifying an unlearned model may bring back what was forgotten, if the change that unlearning has made is in
    weights that pruning removes. The leakage of the retain split shows how much of the model is left.

    Args:
        pruner: which weights are set to 0; ``MagnitudePruner(ratio=0.5)`` by default.

    References:
        Unlearning of sparse language models, arXiv 2602.00577.
    """

    def __init__(self, pruner: Pruner | None = None) -> None:
        self.pruner = pruner or MagnitudePruner(ratio=0.5)

    @property
    def name(self) -> str:
        """The attack, the kind of pruning and its ratio."""
        return f"PruningAttack ({self.pruner.name}, {self.pruner.ratio:.0%})"

    @property
    def changes_weights(self) -> bool:
        """True."""
        return True

    def check(self, subject: Subject) -> None:
        """Check that the pruner has the data that it needs."""
        self.pruner.check(subject)

    def run(self, subject: Subject) -> Findings:
        """Prune a copy of the weights, and evaluate both splits."""
        module = subject.pretrained(self.pruner.build(subject))
        return Findings.scored(subject.score(module, subject.splits))
