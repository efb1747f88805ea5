"""The contenders of the study of combiners: a sweep of fixed weights, and one arm per rule."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn_pl.combiners import (
    BLUR,
    GRU,
    HAMU,
    SAGO,
    Combiner,
    CombinerOptions,
    DualBasis,
    DualProj,
    FedOSD,
    GradDrop,
    GramianCombiner,
    LossCombiner,
    MinNorm,
    NGDiff,
    PrimalDual,
    PriorityConstrainedDescent,
    Scalarization,
    TorchJD,
    UPGrad,
)
from unlearn_pl.modules import MOLLM, NPO, UnlearningModule

BUDGET, MULTIPLIER_STEP = 0.2, 5.0
SMOOTHING = 0.9
QUICK = 0.5


class WithRows(LossCombiner):
    """Gives a rule on losses the path with gradient rows, so that its steps can be measured; the weights stay."""

    uses_gramian = True
    _before: Tensor | None = None

    def __call__(self, gramian: Tensor | None, losses: Tensor) -> Tensor:
        """The weights for the losses of the step before, as on the path without rows."""
        unknown = torch.full(losses.shape, torch.nan, dtype=torch.float64)
        before = unknown if self._before is None else self._before
        self._before = losses.detach().to("cpu", torch.float64)
        return super().__call__(None, before)


class FixedWeights(WithRows, Scalarization):
    """The weighted sum, with gradient rows."""


class Multiplier(WithRows, PrimalDual):
    """The primal-dual rule, with gradient rows."""


class SatisfiedWeights(GramianCombiner):
    """Fixed weights on raw gradients, but the forget loss is left out while it is satisfied.

    Args:
        forget_weight: of the forget loss; all others have weight 1.
        satisfied: see :class:`~unlearn_pl.combiners.GramianCombiner`.
        satisfied_decay: likewise.
    """

    def __init__(self, forget_weight: float, satisfied: float, satisfied_decay: float = 0.9) -> None:
        super().__init__(normalization="none", satisfied=satisfied, satisfied_decay=satisfied_decay)
        self.forget_weight = forget_weight

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """The weight of the constructor for objectives that forget, else 1."""
        return torch.where(self.members_of("forget"), self.forget_weight, 1.0).to(torch.float64)


@dataclass(frozen=True)
class Problem:
    """Objectives, the arms that compete on them, and what the sweep tries.

    Attributes:
        method: module that names the objectives.
        forget_weights: the nine weights of the forget loss in the sweep; the other losses have weight 1.
        satisfied: threshold of the forget loss that all rules on gradients share; None for none.
    """

    method: Callable[..., UnlearningModule]
    forget_weights: tuple[float, ...]
    satisfied: float | None


PROBLEMS = {
    "mollm": Problem(MOLLM, tuple(2.0**k for k in range(-4, 5)), 0.1),
    "npo": Problem(NPO, tuple(2.0**k for k in range(-6, 3)), None),
}
SUM, SATISFIED_SUM = "sum, w = ", "sum, quick satisfied, w = "


def arms(problem: Problem) -> Mapping[str, Callable[[], Combiner]]:
    """Name to a function that makes the arm's combiner: the sweep first."""
    sweep = {f"{SUM}{w:g}": lambda w=w: FixedWeights({"forget": w}) for w in problem.forget_weights}
    return sweep | _rules(problem) | _controls(problem)


def _rules(problem: Problem) -> dict[str, Callable[[], Combiner]]:
    shared: CombinerOptions = {} if problem.satisfied is None else {"satisfied": problem.satisfied}
    ema: CombinerOptions = {**shared, "normalization": "ema"}
    rules: dict[str, Callable[[], Combiner]] = {
        "MinNorm": lambda: MinNorm(**shared),
        "MinNorm, ema": lambda: MinNorm(**ema),
        "MinNorm, weight_ema (CR-MOGM)": lambda: MinNorm(weight_ema=SMOOTHING, **shared),
        "PrimalDual": lambda: Multiplier(BUDGET, MULTIPLIER_STEP),
        "CAGrad": lambda: TorchJD("CAGrad", {"c": 0.4}, **shared),
        "FairGrad": lambda: TorchJD("FairGrad", {"alpha": 1.0}, **shared),
    }
    own = (DualBasis, UPGrad, DualProj, PriorityConstrainedDescent, NGDiff, GRU, BLUR, FedOSD, HAMU, SAGO, GradDrop)
    rules |= {rule.__name__: lambda rule=rule: rule(**shared) for rule in own}
    names = ("PCGrad", "GradVac", "IMTLG", "AlignedMTL")
    return rules | {name: lambda name=name: TorchJD(name, **shared) for name in names}


def _controls(problem: Problem) -> dict[str, Callable[[], Combiner]]:
    """What `satisfied` does by itself, and with an average of the loss that suits so few steps."""
    threshold = problem.satisfied
    if threshold is None:
        return {}
    sums = {
        f"{SATISFIED_SUM}{w:g}": lambda w=w: SatisfiedWeights(w, threshold, QUICK)  # type: ignore[misc]
        for w in (1.0, 2.0, 4.0)
    }
    return sums | {
        "MinNorm without satisfied": lambda: MinNorm(),
        "MinNorm, quick satisfied": lambda: MinNorm(satisfied=threshold, satisfied_decay=QUICK),
    }
