"""The contenders: gradient ascent, NPO and SimNPO, with and without a retain loss; min-norm, and fixed weights.

An arm is a function from a :class:`World` to a module. One more is one more entry of :func:`arms`; for instance one
that moves some weights only is ``lambda world: NPO(world.pretrained(), mask=..., **options())``.
"""

import math
from collections.abc import Callable

from experiments.studies.markov_chains.chain import STATES
from experiments.studies.markov_chains.world import World, options
from unlearn_pl.combiners import Combiner, MinNorm, Scalarization
from unlearn_pl.modules import NPO, GradAscent, GradDiff, SimNPO, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, NPOLoss, Objective, SimNPOLoss, UnlearningCrossEntropyLoss
from unlearn_pl.references import FrozenReference

Arm = Callable[[World], UnlearningModule]

CHANCE = -math.log(1 - 1 / (2 * STATES))
"""The forget loss of a model that guesses: where it is satisfied."""
FIXED = "fixed, w = "


def ga(world: World) -> UnlearningModule:
    """Gradient ascent."""
    return GradAscent(world.pretrained(), **options())


def ga_retain(world: World) -> UnlearningModule:
    """Gradient ascent with the retain loss."""
    return GradDiff(world.pretrained(), **options())


def npo(world: World) -> UnlearningModule:
    """NPO without a retain loss."""
    losses: dict[str, Objective] = {"forget": NPOLoss(world.experiment.npo_beta)}
    return UnlearningModule(world.pretrained(), losses, Scalarization(), FrozenReference(), **options())


def npo_retain(world: World) -> UnlearningModule:
    """NPO with the retain loss."""
    return NPO(world.pretrained(), world.experiment.npo_beta, **options())


def simnpo(world: World) -> UnlearningModule:
    """SimNPO without a retain loss."""
    losses: dict[str, Objective] = {"forget": SimNPOLoss(world.experiment.simnpo_beta)}
    return UnlearningModule(world.pretrained(), losses, Scalarization(), **options())


def simnpo_retain(world: World) -> UnlearningModule:
    """SimNPO with the retain loss."""
    return SimNPO(world.pretrained(), world.experiment.simnpo_beta, forget_weight=1.0, **options())


def three_objectives(combiner: Callable[[], Combiner]) -> Arm:
    """MOLLM's bounded forget loss on each forget chain, and the retain loss."""

    def make(world: World) -> UnlearningModule:
        losses = {
            "forget1": UnlearningCrossEntropyLoss("forget1"),
            "forget2": UnlearningCrossEntropyLoss("forget2"),
            "retain": CausalLMLoss(),
        }
        return UnlearningModule(world.pretrained(), losses, combiner(), **options())

    return make


def fixed(forget_weight: float) -> Arm:
    """The weighted sum of MOLLM's losses; the retain loss has weight 1."""
    return three_objectives(lambda: Scalarization({"forget1": forget_weight, "forget2": forget_weight}))


METHODS: dict[str, Arm] = {
    "GA": ga,
    "NPO": npo,
    "SimNPO": simnpo,
    "GA + retain": ga_retain,
    "NPO + retain": npo_retain,
    "SimNPO + retain": simnpo_retain,
}
WEIGHTS: dict[str, Arm] = {
    "MOLLM": three_objectives(MinNorm),
    "MOLLM, satisfied": three_objectives(lambda: MinNorm(satisfied=CHANCE)),
} | {f"{FIXED}{weight:g}": fixed(weight) for weight in (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)}


def arms(experiment: str) -> dict[str, Arm]:
    """Name to arm: weights are compared where there are two chains to forget, which is in ``length`` alone."""
    return METHODS | WEIGHTS if experiment == "length" else METHODS
