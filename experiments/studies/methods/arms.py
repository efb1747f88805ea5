"""The methods of the study, with their default options, and with goals where these apply."""

from collections.abc import Callable, Mapping
from functools import partial

from torch import nn

from unlearn_pl.combiners import GoalBarrier
from unlearn_pl.goals import AtLeast, AtMost
from unlearn_pl.modules import (
    CEU,
    FLAT,
    KTO,
    MOLLM,
    NPO,
    PDU,
    RAUL,
    RMU,
    UNDIAL,
    WGA,
    GradAscent,
    GradDiff,
    IdkDPO,
    IdkNLL,
    JensUn,
    KLMin,
    MaxEntropy,
    SatImp,
    SimNPO,
    TunedLens,
    UnlearningModule,
)

Method = Callable[..., UnlearningModule]
"""Takes a model and options."""


def with_goals(method: Method) -> Method:
    """``method`` with the usual two goals and the combiner that is made for them."""

    def make(model: nn.Module, **options: object) -> UnlearningModule:
        goals = {"forget": AtMost("holdout"), "retain": AtLeast(share=0.9)}
        return method(model, combiner=GoalBarrier(), goals=goals, **options)

    return make


METHODS: Mapping[str, Method] = {
    "GradAscent": GradAscent,
    "GradDiff": GradDiff,
    "KLMin": KLMin,
    "NPO": NPO,
    "SimNPO": SimNPO,
    "IdkNLL": IdkNLL,
    "IdkDPO": IdkDPO,
    "KTO": KTO,
    "RMU": partial(RMU, layer=1),  # of 2
    "TunedLens": partial(TunedLens, layers=[1], retain_layers=[1, 2], steps=24),  # as many as the run has
    "UNDIAL": UNDIAL,
    "WGA": WGA,
    "SatImp": SatImp,
    "CEU": CEU,
    "MaxEntropy": MaxEntropy,
    "FLAT": FLAT,
    "RAUL": RAUL,
    "PDU": PDU,
    "JensUn": JensUn,
    "MOLLM": MOLLM,
    "GradDiff with goals": with_goals(GradDiff),
    "NPO with goals": with_goals(NPO),
    "SimNPO with goals": with_goals(SimNPO),
    "MOLLM with goals": with_goals(MOLLM),
}
"""AltPO is IdkDPO on other answers, which have to be generated."""
