"""Quantization attack."""

from unlearn_pl.robustness.attacks.attack import Attack, Findings
from unlearn_pl.robustness.quantizers.integer_rounding import IntegerRounding
from unlearn_pl.robustness.quantizers.quantizer import Quantizer
from unlearn_pl.robustness.target import Subject


class Quantization(Attack):
    """Leakage of the forget and the retain split after the model's weights are quantized.

    Unlearning changes weights little, and rounding may undo the change: the quantized model then recovers what was
    forgotten.

    Args:
        quantizer: how the weights are rounded; ``IntegerRounding(bits=8)`` by default.

    References:
        Zhang et al., Catastrophic Failure of LLM Unlearning via Quantization, ICLR 2025, arXiv 2410.16454.
    """

    def __init__(self, quantizer: Quantizer | None = None) -> None:
        self.quantizer = quantizer or IntegerRounding(bits=8)

    @property
    def name(self) -> str:
        """The attack and the kind of rounding."""
        return f"Quantization ({self.quantizer.name})"

    @property
    def changes_weights(self) -> bool:
        """True."""
        return True

    def check(self, subject: Subject) -> None:
        """Check that the backend is installed."""
        self.quantizer.check()

    def run(self, subject: Subject) -> Findings:
        """Round a copy of the weights, and evaluate both splits."""
        module = subject.pretrained(self.quantizer.build(subject))
        return Findings.scored(subject.score(module, subject.splits))
