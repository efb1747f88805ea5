"""Relearning attack with the attacker's settings swept."""

from collections.abc import Sequence
from itertools import product

from unlearn_pl.models import LoRA
from unlearn_pl.robustness.attacks.attack import Findings
from unlearn_pl.robustness.attacks.sweeps.bounded_relearning import LEAKAGE, BoundedRelearning
from unlearn_pl.robustness.attacks.sweeps.sweep import Sweep
from unlearn_pl.robustness.relearning_sets.random_fraction import RandomFraction
from unlearn_pl.robustness.relearning_sets.relearning_set import RelearningSet


class RelearningSweep(Sweep):
    """The strongest relearning attack whose loss of utility is within a bound: data, learning rate and steps swept.

    A fixed attacker understates leakage: methods differ in the learning rate at which they give in. The sweep runs
    :class:`BoundedRelearning` with every training set at every learning rate, and evaluates after every
    ``evaluate_every`` steps; it reports the setting and the step with the largest leakage. All are scored on the forget
    rows that none of them shows.

    The first training set at the first learning rate is the fixed attacker, by default that of :class:`Relearning`.
    Since it is a part of the sweep, it never leaks more at any step within the bound: its leakage at the strongest of
    these steps is ``forget_probability_fixed_within``, at most ``forget_probability``. ``forget_probability_fixed``
    and ``utility_loss_fixed`` are its values after the last step, within the bound or not; ``setting`` is the position
    of the strongest setting, ``learning_rate`` its learning rate.

    Args:
        rows: training sets; ``RandomFraction(0.2)`` alone by default.
        learning_rates: learning rates of AdamW.
        steps: most optimizer steps.
        evaluate_every: steps between two evaluations; must divide ``steps``.
        batch_size: examples per optimizer step.
        micro_batch_size: examples per forward; ``batch_size`` by default.
        lora: train adapters instead of the weights.
        utility_loss: largest share of the utility that the attacker gives up, from 0 to below 1.

    Raises:
        ValueError: if there are no learning rates or training sets, or as in :class:`BoundedRelearning`.

    References:
        Hossain et al., TamperBench: Systematically Stress-Testing LLM Safety Under Fine-Tuning and Tampering, 2026.
    """

    def __init__(
        self,
        rows: Sequence[RelearningSet] | None = None,
        learning_rates: Sequence[float] = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3),
        steps: int = 60,
        evaluate_every: int = 10,
        batch_size: int = 4,
        micro_batch_size: int | None = None,
        lora: LoRA | None = None,
        utility_loss: float = 0.1,
    ) -> None:
        self.rows = [RandomFraction()] if rows is None else list(rows)
        self.learning_rates = list(learning_rates)
        if not self.rows or not self.learning_rates:
            raise ValueError(
                f"rows={[one.name for one in self.rows]} and learning_rates={self.learning_rates}; accepted is at "
                "least one of each."
            )
        self.utility_loss = utility_loss
        self._settings = [
            BoundedRelearning(
                one, steps, evaluate_every, rate, batch_size, micro_batch_size, lora, utility_loss, unseen=self.rows
            )
            for one, rate in product(self.rows, self.learning_rates)
        ]

    @property
    def name(self) -> str:
        """The attack, the number of its settings, and the bound."""
        return f"RelearningSweep ({len(self._settings)} settings, loss {self.utility_loss:.0%})"

    @property
    def settings(self) -> Sequence[BoundedRelearning]:
        """The first training set at every learning rate, then the next one."""
        return self._settings

    def combine(self, found: Sequence[Findings]) -> Findings:
        """The strongest setting; the first one of several."""
        best = max(range(len(found)), key=lambda i: (found[i].after[LEAKAGE], -i))
        fixed = {
            f"{LEAKAGE}_fixed": found[0].after[f"{LEAKAGE}_last"],
            f"{LEAKAGE}_fixed_within": found[0].after[LEAKAGE],
            "utility_loss_fixed": found[0].after["utility_loss_last"],
        }
        chosen = {"setting": float(best), "learning_rate": self._settings[best].learning_rate}
        return Findings(
            {**found[best].after, **fixed, **chosen}, found[best].before, found[best].curve, found[best].rows
        )
