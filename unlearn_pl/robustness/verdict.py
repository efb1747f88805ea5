"""What an audit amounts to: the strongest bounded attack, against the retain model and the model before unlearning."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from unlearn_pl.functional import bootstrap_interval
from unlearn_pl.robustness.audit import AUDITED, ORIGINAL, RETAIN_MODEL
from unlearn_pl.robustness.outcome import Outcome
from unlearn_pl.robustness.reference_models import ReferenceModel
from unlearn_pl.robustness.target import FORGET, RETAIN

OF_TEXTS = ("probability", "rouge", "rouge_best", "extraction_strength", "probe_accuracy")
OF_IMAGES = ("accuracy", "both_accuracy")
SCORES = tuple(f"{FORGET}_{score}" for score in (*OF_TEXTS, *OF_IMAGES))
"""Leakage that is judged, each score by itself: a probability is not comparable with a share of words."""
UNATTACKED = "Unattacked"
UTILITY, LOSS = f"{RETAIN}_probability", "utility_loss"
COST = 0.1
"""Largest share of the utility that an attack may cost to count, if nothing else is said."""
DRAWS = 20
"""Least number of bootstrap draws beyond each end of an interval."""


@dataclass(frozen=True)
class Estimate:
    """A mean over the forget rows, with its interval.

    Attributes:
        value: the mean.
        low: lower end of the interval; NaN if there are no values per row.
        high: upper end.
    """

    value: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Leak:
    """Leakage under one attack, in one score.

    Attributes:
        attack: name of the attack; ``Unattacked`` for none.
        score: name of the score.
        audited: of the audited model.
        retain: of the retain model under the same attack; None without one.
        excess: audited minus retain model, row by row where both have the same rows; None without a retain model.
        original: of the model before unlearning, without an attack; None if it was not evaluated, or has no such score.
        recovered: ``excess`` as a share of what the original model knows more than the attacked retain model.
        utility_loss: share of the audited model's utility that the attack cost; None if that was not measured.
        bounded: whether the loss is within the bound; attacks that leave the weights alone are. None if an attack
            changes weights, and nothing tells what it cost.
        percentiles: name of a published model to the percentage of its questions that leak no more.
    """

    attack: str
    score: str
    audited: Estimate
    retain: Estimate | None = None
    excess: Estimate | None = None
    original: float | None = None
    recovered: float | None = None
    utility_loss: float | None = None
    bounded: bool | None = True
    percentiles: Mapping[str, float] = field(default_factory=dict)

    @property
    def strength(self) -> float:
        """What attacks are ranked by: the excess over the retain model, or the leakage itself without one."""
        return self.audited.value if self.excess is None else self.excess.value

    @property
    def leaks(self) -> bool | None:
        """Whether the leakage is above the retain model's beyond chance; None without an interval."""
        if self.excess is None or math.isnan(self.excess.low):
            return None
        return self.excess.low > 0


@dataclass(frozen=True)
class Verdict:
    """All leaks of an audit, and the strongest bounded one of every score.

    Attributes:
        leaks: one per attack and score.
        strongest: score to its strongest bounded leak. The interval allows for the choice among attacks (Bonferroni):
            at ``level``, no attack leaks more than its own interval says.
        level: coverage of the intervals.
        utility_loss: the bound.
    """

    leaks: Sequence[Leak]
    strongest: Mapping[str, Leak]
    level: float
    utility_loss: float


def verdict_of(
    outcomes: Sequence[Outcome],
    changing: Collection[str] = (),
    utility_loss: float = COST,
    level: float = 0.95,
    seed: int = 0,
    references: Sequence[ReferenceModel] = (),
) -> Verdict:
    """Judge the outcomes of an audit; a pure function.

    Args:
        outcomes: of the audited model, and of the others where there are any.
        changing: names of attacks that change weights.
        utility_loss: largest share of the utility, the probability of the retain answers, that an attack may cost.
        level: coverage of the intervals, between 0 and 1.
        seed: of the bootstrap draws.
        references: published models to compare with.

    Raises:
        ValueError: if ``level`` or ``utility_loss`` is out of range, or there is no outcome of the audited model.
    """
    if not 0 < level < 1 or not 0 <= utility_loss < 1:
        raise ValueError(f"level={level} and utility_loss={utility_loss}; accepted are shares between 0 and 1.")
    mine = [outcome for outcome in outcomes if outcome.role == AUDITED]
    if not mine:
        raise ValueError("A verdict needs outcomes of the audited model, and there are none.")
    judge = _Judge(outcomes, changing, utility_loss, seed, references)
    names = [(outcome, score) for score in SCORES for outcome in mine if score in outcome.after]
    leaks = [judge.leak(outcome, score, level) for outcome, score in names]
    strongest = {}
    for score in SCORES:
        of_score = [(leak, outcome) for leak, (outcome, s) in zip(leaks, names, strict=True) if s == score]
        bounded = [(leak, outcome) for leak, outcome in of_score if leak.bounded and math.isfinite(leak.strength)]
        if bounded:
            best = max(bounded, key=lambda pair: pair[0].strength)[1]
            strongest[score] = judge.leak(best, score, 1 - (1 - level) / len(bounded))
    return Verdict(leaks, strongest, level, utility_loss)


class _Judge:
    def __init__(
        self,
        outcomes: Sequence[Outcome],
        changing: Collection[str],
        utility_loss: float,
        seed: int,
        references: Sequence[ReferenceModel],
    ) -> None:
        self._retain = {_key(outcome): outcome for outcome in outcomes if outcome.role == RETAIN_MODEL}
        self._original = next((outcome for outcome in outcomes if outcome.role == ORIGINAL), None)
        unattacked = (o.after.get(UTILITY) for o in outcomes if o.role == AUDITED and o.attack == UNATTACKED)
        self._utility = next(unattacked, None)
        self._changing = set(changing)
        self._bound, self._seed, self._references = utility_loss, seed, references

    def leak(self, outcome: Outcome, score: str, level: float) -> Leak:
        """One attack in one score, with intervals at ``level``."""
        audited = self._estimate(outcome, score, level)
        baseline = self._retain.get(_key(outcome))
        retain = None if baseline is None or score not in baseline.after else self._estimate(baseline, score, level)
        original = None if self._original is None else self._original.after.get(score)
        excess = recovered = None
        if baseline is not None and retain is not None:
            excess = self._excess(outcome, baseline, score, level)
            known = None if original is None else original - retain.value
            recovered = None if known is None or known <= 0 else excess.value / known
        loss = self._loss(outcome)
        bounded = None if loss is None and outcome.attack in self._changing else loss is None or loss <= self._bound
        found = ((model.name, model.percentile(score, audited.value)) for model in self._references)
        percentiles = {name: value for name, value in found if value is not None}
        return Leak(outcome.attack, score, audited, retain, excess, original, recovered, loss, bounded, percentiles)

    def _loss(self, outcome: Outcome) -> float | None:
        if LOSS in outcome.after:
            return outcome.after[LOSS]
        if outcome.attack not in self._changing or UTILITY not in outcome.after or not self._utility:
            return None
        return 1 - outcome.after[UTILITY] / self._utility

    def _estimate(self, outcome: Outcome, score: str, level: float) -> Estimate:
        value, rows = outcome.after[score], outcome.rows.get(score)
        return Estimate(value) if not rows else Estimate(value, *self._interval(level, rows))

    def _excess(self, outcome: Outcome, baseline: Outcome, score: str, level: float) -> Estimate:
        value = outcome.after[score] - baseline.after[score]
        mine, theirs = outcome.rows.get(score), baseline.rows.get(score)
        if not mine or not theirs:
            return Estimate(value)
        if len(mine) == len(theirs):
            return Estimate(value, *self._interval(level, [a - b for a, b in zip(mine, theirs, strict=True)]))
        return Estimate(value, *self._interval(level, mine, theirs))

    def _interval(self, level: float, *samples: Sequence[float]) -> tuple[float, float]:
        if any(not math.isfinite(value) for sample in samples for value in sample):
            return math.nan, math.nan
        draws = max(1000, math.ceil(2 * DRAWS / (1 - level)))
        return bootstrap_interval(_difference, *samples, level=level, resamples=draws, seed=self._seed)


def _difference(first: Tensor, second: Tensor | None = None) -> float:
    return (first.mean() - (0 if second is None else second.mean())).item()


def _key(outcome: Outcome) -> str:
    """The attack in its setting: the whole configuration, which is the same for all models."""
    return outcome.config_hash
