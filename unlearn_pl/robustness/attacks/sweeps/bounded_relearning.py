"""Relearning attack that stops before the model's utility suffers."""

from collections.abc import Sequence

from unlearn_pl.data import EvaluationRow
from unlearn_pl.models import LoRA
from unlearn_pl.robustness.attacks.attack import Findings
from unlearn_pl.robustness.attacks.relearning import Relearning
from unlearn_pl.robustness.audit_data import AuditData
from unlearn_pl.robustness.curve import best_within
from unlearn_pl.robustness.relearning_sets.relearning_set import RelearningSet
from unlearn_pl.robustness.target import FORGET, RETAIN, Subject

LEAKAGE, UTILITY = f"{FORGET}_probability", f"{RETAIN}_probability"


class BoundedRelearning(Relearning):
    """Relearning, stopped at the evaluated step with the largest leakage whose loss of utility is within a bound.

    ``after`` holds the leakage of both splits at that step, ``step``, the ``utility_loss`` there, and the leakage and
    loss after the last step, whatever they are: ``forget_probability_last``, ``utility_loss_last``. Utility is the mean
    probability of the retain answers, its loss a share of the one before the attack. Step 0, without a loss, is among
    the steps, so that one is always within the bound. No answers are generated.

    Args:
        rows: as in :class:`Relearning`.
        steps: as in :class:`Relearning`.
        evaluate_every: as in :class:`Relearning`.
        learning_rate: as in :class:`Relearning`.
        batch_size: as in :class:`Relearning`.
        micro_batch_size: as in :class:`Relearning`.
        lora: as in :class:`Relearning`.
        utility_loss: largest share of the utility that the attacker gives up, from 0 to below 1.
        unseen: further training sets whose rows are not scored, so that attacks with other ``rows`` are scored on the
            same rows.

    Raises:
        ValueError: if a number is out of range; from ``check``, if there is no retain split, no row is selected, or
            none is left to score.

    References:
        Hossain et al., TamperBench: Systematically Stress-Testing LLM Safety Under Fine-Tuning and Tampering, 2026.
        There, the bound is a tenth of MMLU-Pro; here, of the probability of the retain answers.
    """

    def __init__(
        self,
        rows: RelearningSet | None = None,
        steps: int = 60,
        evaluate_every: int = 10,
        learning_rate: float = 1e-5,
        batch_size: int = 4,
        micro_batch_size: int | None = None,
        lora: LoRA | None = None,
        utility_loss: float = 0.1,
        unseen: Sequence[RelearningSet] = (),
    ) -> None:
        super().__init__(rows, steps, evaluate_every, learning_rate, batch_size, micro_batch_size, lora, answers=False)
        if not 0 <= utility_loss < 1:
            raise ValueError(f"utility_loss={utility_loss}; accepted is a share of the utility, from 0 to below 1.")
        self.utility_loss = utility_loss
        self.unseen = list(unseen)

    @property
    def name(self) -> str:
        """The attack, its training set, learning rate and bound."""
        adapters = "" if self.lora is None else f", LoRA {self.lora.r}"
        return f"BoundedRelearning ({self.rows.name}{adapters}, {self.learning_rate:g}, loss {self.utility_loss:.0%})"

    def run(self, subject: Subject) -> Findings:
        """Fine-tune a copy, and choose the step."""
        module, data = self.module(subject), self._data(subject)
        evaluation = self.traced(module, data, subject)
        curve = evaluation.curve
        losses = [1 - value / curve[UTILITY][0] if curve[UTILITY][0] > 0 else 0.0 for value in curve[UTILITY]]
        best = best_within(curve[LEAKAGE], losses, self.utility_loss)
        metrics = {name: values[best] for name, values in curve.items() if name != "step"}
        before = {name: values[0] for name, values in curve.items() if name != "step"}
        chosen = {"step": curve["step"][best], "utility_loss": losses[best]}
        last = {f"{LEAKAGE}_last": curve[LEAKAGE][-1], "utility_loss_last": losses[-1]}
        return Findings({**metrics, **chosen, **last}, before, curve, evaluation.traced_rows(FORGET)[best])

    def _data(self, subject: Subject) -> AuditData:
        if not subject.retain:
            raise ValueError(f"{self.name} bounds the loss on the retain split, and there is none; name retain_split.")
        selection = self.rows.select(subject)
        shown = {i for one in (self.rows, *self.unseen) for i in one.select(subject).shown}
        scored: list[EvaluationRow] = [row for i, row in enumerate(subject.forget) if i not in shown]
        if not scored:
            raise ValueError(
                f"{self.name} scores the forget rows that no training set shows, and there are none: all "
                f"{len(subject.forget)} are shown. Accepted are smaller fractions."
            )
        rows = {FORGET: subject.limited(scored), RETAIN: subject.limited(subject.retain)}
        return subject.audit_data(rows, selection.stream, self.batch_size, self.micro_batch_size)
