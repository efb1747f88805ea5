"""Relearning attack."""

import math
from collections.abc import Mapping
from functools import partial

import torch

from unlearn_pl.data import EvaluationRow
from unlearn_pl.models import CausalLM, LoRA
from unlearn_pl.modules import FineTuning
from unlearn_pl.optim import Constant
from unlearn_pl.robustness.attacks.attack import Attack, Findings
from unlearn_pl.robustness.audit_data import STREAM, AuditData
from unlearn_pl.robustness.curve import Curve, curve_area, steps_to_level
from unlearn_pl.robustness.leakage import LeakageEvaluation
from unlearn_pl.robustness.relearning_sets.random_fraction import RandomFraction
from unlearn_pl.robustness.relearning_sets.relearning_set import RelearningSet
from unlearn_pl.robustness.target import FORGET, Subject

SHOWN = "shown"
"""Metric name of the forget rows that the attack trains on."""
TRACED = ("forget_probability", "forget_extraction_strength")


class Relearning(Attack):
    """Fine-tunes on a few rows and traces the leakage of the others, step by step.

    ``forget`` metrics cover the forget rows that the attack does *not* train on, ``shown`` metrics those that it does.
    ``{metric}_area`` is the mean of the curve (see :func:`~unlearn_pl.robustness.curve_area`), ``{metric}_half`` the
    number of steps until half of the gap to full leakage is closed, infinite if it never is. Full leakage is that of
    the original model (before unlearning) on the forget split, or 1 if the audit has no such model.

    Learning from the rows that are shown is no failure of unlearning: compare with the retain model under the same
    attack.

    Args:
        rows: the training set; ``RandomFraction(0.2)`` by default.
        steps: optimizer steps, AdamW without weight decay at a constant learning rate.
        evaluate_every: steps between two points of the curve; must divide ``steps``.
        learning_rate: learning rate of AdamW; the default is the authors' for relearning WMDP.
        batch_size: examples per optimizer step.
        micro_batch_size: examples per forward; ``batch_size`` by default.
        lora: train adapters instead of the weights.
        answers: whether answers are generated before and after, for ROUGE.

    Raises:
        ValueError: if a number is out of range; from ``check``, if no row is selected.

    References:
        Fan et al., Towards LLM Unlearning Resilient to Relearning Attacks, ICML 2025, arXiv 2502.05374; Hu et al.,
        Jogging the Memory of Unlearned Models Through Targeted Relearning Attacks, arXiv 2406.13356.
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
        answers: bool = True,
    ) -> None:
        if steps < 1 or evaluate_every < 1 or steps % evaluate_every:
            raise ValueError(
                f"steps={steps} and evaluate_every={evaluate_every}; accepted are positive numbers, the first a "
                "multiple of the second."
            )
        if not 0 < learning_rate < math.inf:
            raise ValueError(f"learning_rate={learning_rate}; accepted is a positive number.")
        self.rows = rows or RandomFraction()
        self.steps = steps
        self.evaluate_every = evaluate_every
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.micro_batch_size = batch_size if micro_batch_size is None else micro_batch_size
        self.lora = lora
        self.answers = answers

    @property
    def name(self) -> str:
        """The attack, its training set and, with adapters, their rank."""
        adapters = "" if self.lora is None else f", LoRA {self.lora.r}"
        return f"Relearning ({self.rows.name}{adapters})"

    def check(self, subject: Subject) -> None:
        """Check that rows are selected and that the batch sizes are compatible."""
        data = self._data(subject)
        _ = data.micro_batches_per_step

    @property
    def changes_weights(self) -> bool:
        """True."""
        return True

    def cost(self, subject: Subject) -> float:
        """See :meth:`Attack.cost`: an evaluation without answers costs about an eighth of one with them."""
        points, rows = self.steps // self.evaluate_every + 1, max(1, sum(map(len, subject.splits.values())))
        return 2 * self.answers + (points + 3 * self.steps * self.batch_size / rows) / 8

    def run(self, subject: Subject) -> Findings:
        """Fine-tune a copy, with evaluations before, during and after."""
        data, module = self._data(subject), self.module(subject)
        before = subject.score(module, data.rows, self.answers).metrics
        curve = self.traced(module, data, subject).curve
        after = subject.score(module, data.rows, self.answers)
        return Findings({**after.metrics, **summarize(curve, subject.full)}, before, curve, after.rows(FORGET))

    def module(self, subject: Subject) -> FineTuning:
        """The module that fine-tunes a copy of the model."""
        return FineTuning(
            CausalLM(subject.model, lora=self.lora),
            stream=STREAM,
            optimizer=partial(torch.optim.AdamW, lr=self.learning_rate, weight_decay=0.0),
            schedule=Constant(),
            max_new_tokens=subject.max_new_tokens,
        )

    def traced(self, module: FineTuning, data: AuditData, subject: Subject) -> LeakageEvaluation:
        """Fine-tune, with an evaluation without answers before the first step and after every ``evaluate_every``."""
        evaluation = LeakageEvaluation()
        with subject.drawing():
            trainer = subject.trainer(
                max_steps=self.steps,
                max_epochs=-1,
                val_check_interval=self.evaluate_every,
                check_val_every_n_epoch=None,
                callbacks=[evaluation],
            )
            trainer.validate(module, datamodule=data, verbose=False)
            trainer.fit(module, datamodule=data)
        return evaluation

    def _data(self, subject: Subject) -> AuditData:
        selection = self.rows.select(subject)
        shown = set(selection.shown)
        parts: dict[str, list[EvaluationRow]] = {
            FORGET: [row for i, row in enumerate(subject.forget) if i not in shown],
            SHOWN: [row for i, row in enumerate(subject.forget) if i in shown],
        }
        rows = {name: subject.limited(part) for name, part in parts.items() if part}
        return subject.audit_data(rows, selection.stream, self.batch_size, self.micro_batch_size)


def summarize(curve: Curve, full: Mapping[str, float]) -> dict[str, float]:
    """Area and steps to half of every traced metric.

    Args:
        curve: curve of a relearning attack.
        full: leakage that counts as complete, by metric; 1 for other metrics.
    """
    numbers = {}
    for name in TRACED:
        if name in curve:
            half = (curve[name][0] + full.get(name, 1.0)) / 2
            reached = steps_to_level(curve["step"], curve[name], half)
            numbers[f"{name}_area"] = curve_area(curve["step"], curve[name])
            numbers[f"{name}_half"] = math.inf if reached is None else reached
    return numbers
