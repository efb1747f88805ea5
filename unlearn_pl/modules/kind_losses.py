"""The losses that methods are made of, for each kind of model."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from unlearn_pl.models import ModelSpec
from unlearn_pl.objectives import (
    CausalLMLoss,
    DenoisingAscentLoss,
    DenoisingLoss,
    GradientAscentLoss,
    KLDivergenceLoss,
    MisalignLoss,
    Objective,
    PredictionConsistencyLoss,
    UnlearningCrossEntropyLoss,
)
from unlearn_pl.types import DenoisingView, LanguageView, View


@dataclass(frozen=True)
class KindLosses:
    """Classes of objectives with the same meaning for a kind of model.

    Attributes:
        learn: the training loss.
        ascend: minus the training loss, unbounded.
        forget: a forget loss that is bounded.
        keep: distance from the reference model.
    """

    learn: type[Objective]
    ascend: type[Objective]
    forget: type[Objective]
    keep: type[Objective]


LOSSES: Mapping[type[View], KindLosses] = {
    LanguageView: KindLosses(CausalLMLoss, GradientAscentLoss, UnlearningCrossEntropyLoss, KLDivergenceLoss),
    DenoisingView: KindLosses(DenoisingLoss, DenoisingAscentLoss, MisalignLoss, PredictionConsistencyLoss),
}


def losses_of(model: str | ModelSpec | nn.Module) -> KindLosses:
    """The losses for ``model``; those of language models for views that are of no known kind."""
    view = model.view if isinstance(model, ModelSpec) else LanguageView
    return next((losses for kind, losses in LOSSES.items() if issubclass(view, kind)), LOSSES[LanguageView])
