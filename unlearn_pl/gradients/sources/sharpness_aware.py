"""Gradients of the forget objectives at weights perturbed toward relearning."""

import math

from unlearn_pl.gradients.base import RowSource
from unlearn_pl.gradients.replay import Replay
from unlearn_pl.gradients.rows import Row, sum_rows
from unlearn_pl.gradients.sources.perturbation import shifted


class SharpnessAware(RowSource):
    """``grad L_k(theta + rho g / |g|)`` for the forget objectives, with ``g`` the sum of their gradients at ``theta``.

    Descends the worst forget loss in a ball of radius ``rho``, so that the model also forgets around ``theta``, where a
    relearning attack would take it. Retain objectives keep their plain gradients. The perturbation comes from the whole
    window and all ranks: the forget streams are run twice, the retain streams once.

    Spread over all weights, the perturbation of each is tiny: of 1e8 weights in bfloat16, most do not change at all for
    ``rho = 0.01``, and much of the perturbation is lost. Train in ``bf16-mixed``, which keeps the weights in fp32.

    Reported losses and probabilities are those at ``theta``.

    Args:
        rho: radius of the ball, in the Euclidean norm of all trained weights.

    Raises:
        ValueError: if ``rho`` is not positive.

    References:
        Fan et al., Towards LLM Unlearning Resilient to Relearning Attacks, ICML 2025, arXiv 2502.05374;
        Foret et al., Sharpness-Aware Minimization, ICLR 2021, arXiv 2010.01412, equation 2.
    """

    copies = 2  # the original weights, and the direction

    def __init__(self, rho: float = 0.01) -> None:
        if not 0 < rho < math.inf:
            raise ValueError(f"rho is {rho}; accepted: a positive radius.")
        self.rho = rho

    def rows(self, replay: Replay) -> dict[str, Row]:
        """One row per objective; the window is run again at the perturbed weights."""
        forget = replay.window.names_of("forget")
        rows = replay.rows()
        if not forget:
            return rows
        direction = sum_rows([rows[name] for name in forget])
        length = replay.norm(direction)
        if 0 < length < math.inf:
            with replay.readings_kept(), shifted(replay.parameters, direction, self.rho / length):
                rows.update(replay.rows(forget))
        return rows
