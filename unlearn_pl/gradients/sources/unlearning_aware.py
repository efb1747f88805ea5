"""Gradients of the retain objectives at weights perturbed toward more forgetting."""

import math

from torch import Tensor

from unlearn_pl.gradients.base import RowSource
from unlearn_pl.gradients.replay import Replay
from unlearn_pl.gradients.rows import Row, sum_rows
from unlearn_pl.gradients.sources.perturbation import shifted


class UnlearningAware(RowSource):
    """``grad L_k(theta - rho e / |e|)`` for the retain objectives, with ``e`` the sum of the forget gradients.

    Retains what is to be retained where forgetting leads, and not only where the model is now. With ``orthogonal``,
    ``e`` is first freed of what it has in common with the sum ``g_r`` of the retain gradients,
    ``e - (e^T g_r / |g_r|^2) g_r``, so that the perturbation forgets as far as that does not change the retain loss.

    The other way round than :class:`~unlearn_pl.gradients.SharpnessAware`: forget objectives keep their plain
    gradients, and the retain streams are run twice. What is said there of the precision of small perturbations holds
    here as well. Reported losses and probabilities are those at ``theta``.

    Args:
        rho: length of the perturbation, in the Euclidean norm of all trained weights.
        orthogonal: whether the perturbation is orthogonal to the retain gradient.

    Raises:
        ValueError: if ``rho`` is not positive.

    References:
        Unlearning-aware minimization, NeurIPS 2025 (the perturbation); ROSU, arXiv 2605.05871 (the orthogonal one).
        Both step along the retain gradient at the perturbed weights alone; here a combiner decides what the plain
        forget gradient adds, and ``Scalarization`` with a forget weight of 0 is their step.
    """

    copies = 2  # the original weights, and the direction

    def __init__(self, rho: float = 0.01, orthogonal: bool = False) -> None:
        if not 0 < rho < math.inf:
            raise ValueError(f"rho is {rho}; accepted: a positive length.")
        self.rho = rho
        self.orthogonal = orthogonal

    def rows(self, replay: Replay) -> dict[str, Row]:
        """One row per objective; the retain streams are run again at the perturbed weights."""
        forget, retain = (replay.window.names_of(role) for role in ("forget", "retain"))
        rows = replay.rows()
        if not forget or not retain:
            return rows
        direction = sum_rows([rows[name] for name in forget])
        if self.orthogonal:
            direction = _orthogonal(direction, sum_rows([rows[name] for name in retain]), replay)
        length = replay.norm(direction)
        if 0 < length < math.inf:
            with replay.readings_kept(), shifted(replay.parameters, direction, -self.rho / length):
                rows.update(replay.rows(retain))
        return rows


def _orthogonal(direction: Row, other: Row, replay: Replay) -> Row:
    """``e - (e^T g / |g|^2) g``; ``e`` itself where ``g`` is 0."""
    products: Tensor = replay.products([direction, other])
    square = products[1, 1].item()
    if not 0 < square < math.inf:
        return direction
    share = products[0, 1].item() / square
    return [_less(e, g, share) for e, g in zip(direction, other, strict=True)]


def _less(value: Tensor | None, other: Tensor | None, share: float) -> Tensor | None:
    if other is None:
        return value
    return -share * other if value is None else value - share * other
