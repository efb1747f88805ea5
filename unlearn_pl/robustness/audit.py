"""Attacks on a model and on the models that it is compared with."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from unlearn_pl.recording import record
from unlearn_pl.results import check_writable, config_hash, weights_fingerprint
from unlearn_pl.robustness.attacked import Attacked
from unlearn_pl.robustness.attacks.attack import Attack, Findings
from unlearn_pl.robustness.attacks.sweeps.sweep import Sweep
from unlearn_pl.robustness.attacks.unattacked import Unattacked
from unlearn_pl.robustness.outcome import Outcome, read_outcomes, write_outcomes
from unlearn_pl.robustness.target import Subject
from unlearn_pl.robustness.time_budget import NotRun, TimeBudget
from unlearn_pl.upgrading import upgraded

AUDITED, RETAIN_MODEL, ORIGINAL = "audited", "retain", "original"
ATTACKED = (AUDITED, RETAIN_MODEL)
"""Roles of the models that are attacked; the original one is evaluated only."""


class Audit:
    """Runs attacks, saves each outcome at once, and does not repeat attacks with a saved outcome.

    Outcomes are identified by the hash of the configuration (attack, data, seed, generation settings) and the
    fingerprint of the weights. Models are loaded again for every attack, and never written.

    Args:
        subject: the audited model.
        attacks: the attacks to run.
        output: folder of ``attacks.json``.
        retain_model: folder of a model that never saw the forget set, attacked in the same way; None for no baseline.
        original_model: folder of the model before unlearning, whose leakage counts as complete; None for a leakage
            of 1.
        on_start: called with the name of an attack and the role of the model, before one that has no saved outcome.
        seconds: time that :meth:`run` may take; attacks then run in the order of their costs, and those that are
            estimated not to end in time are listed in ``not_run``. Saved outcomes take no time. None for all attacks,
            in the given order.

    Attributes:
        not_run: attacks that the last :meth:`run` left out for want of time.
    """

    def __init__(
        self,
        subject: Attacked,
        attacks: Sequence[Attack],
        output: str | Path,
        retain_model: str | None = None,
        original_model: str | None = None,
        on_start: Callable[[str, str], None] | None = None,
        seconds: float | None = None,
    ) -> None:
        self.subject = subject
        self.attacks = list(attacks)
        self.file = Path(output) / "attacks.json"
        self._others = {RETAIN_MODEL: retain_model, ORIGINAL: original_model}
        self._on_start = on_start
        self.seconds = seconds
        self.not_run: list[NotRun] = []
        self._kept: list[Outcome] = []
        self._fingerprints: dict[str, str] = {}

    def run(self) -> Iterator[Outcome]:
        """The outcomes of all attacks, one by one: those of ``Unattacked`` first.

        Raises:
            ValueError: if a model is missing, an attack is not possible or the output cannot be written; before any
                model is loaded.
        """
        subjects = self._subjects()
        budget, self.not_run = TimeBudget(self.seconds), []
        self._check(subjects)
        self._kept = read_outcomes(self.file) if self.file.exists() else []
        before = {role: self._outcome(Unattacked(), role, subject) for role, subject in subjects.items()}
        yield from before.values()
        full = before[ORIGINAL].after if ORIGINAL in before else {}
        attacked = {role: replace(subjects[role], full=full) for role in ATTACKED if role in subjects}
        for outcome in before.values():
            budget.learn(1.0, outcome.seconds)
        for attack in self._in_order():
            left = [role for role in attacked if self._known(attack, role, attacked[role]) is None]
            cost = self._cost(attack) if self.seconds is not None else 0.0
            if left and not budget.allows(cost * len(left)):
                self.not_run.append(NotRun(attack.name, budget.estimate(cost * len(left))))
                continue
            for role, subject in attacked.items():
                outcome = self._outcome(attack, role, subject, before[role].after)
                budget.learn(cost, outcome.seconds)
                yield outcome

    def _in_order(self) -> list[Attack]:
        """The attacks, the cheapest first if time is limited."""
        if self.seconds is None:
            return self.attacks
        return sorted(self.attacks, key=self._cost)

    def _cost(self, attack: Attack) -> float:
        return attack.cost(cast(Subject, self.subject))

    def check(self) -> None:
        """Check models, attacks and the output, without loading a model.

        Raises:
            ValueError: as from :meth:`run`.
        """
        self._check(self._subjects())

    def _subjects(self) -> dict[str, Attacked]:
        others = {role: folder for role, folder in self._others.items() if folder is not None}
        return {AUDITED: self.subject, **{role: replace(self.subject, model=other) for role, other in others.items()}}

    def _check(self, subjects: Mapping[str, Attacked]) -> None:
        for subject in subjects.values():
            subject.check()
            if self.file.resolve().is_relative_to(Path(subject.model).resolve()):
                raise ValueError(
                    f"output={str(self.file.parent)!r} is in the model's folder {subject.model!r}, which is never "
                    "written to; choose another folder."
                )
        check_writable(self.file.parent, "output")
        for role in ATTACKED:
            for attack in self.attacks:
                if role in subjects:
                    _check_kind(attack, subjects[role])
                    attack.check(cast(Subject, subjects[role]))

    def _fingerprint(self, subject: Attacked) -> str:
        if subject.model not in self._fingerprints:
            self._fingerprints[subject.model] = weights_fingerprint(subject.build())
        return self._fingerprints[subject.model]

    def _known(self, attack: Attack, role: str, subject: Attacked) -> Outcome | None:
        """The saved outcome of an attack, if there is one."""
        key = (config_hash(configuration(attack, subject)), self._fingerprint(subject), role)
        known = {(config_hash(upgraded(kept.config)), kept.weights_fingerprint, kept.role): kept for kept in self._kept}
        return known.get(key)

    def _found(
        self, attack: Attack, role: str, subject: Attacked, unattacked: Mapping[str, float] | None
    ) -> tuple[Findings, float]:
        """What an attack finds, and the seconds that it took; of a sweep, from the outcomes of its settings."""
        if isinstance(attack, Sweep):
            outcomes = [self._outcome(setting, role, subject, unattacked) for setting in attack.settings]
            found = [Findings(each.after, each.before, each.curve, each.rows) for each in outcomes]
            return attack.combine(found), sum(each.seconds for each in outcomes)
        if self._on_start is not None:
            self._on_start(attack.name, role)
        start = time.monotonic()
        try:
            return attack.run(cast(Subject, subject)), time.monotonic() - start
        except Exception as error:
            error.add_note(f"Raised by {attack.name}, on the {role} model {subject.model!r}.")
            raise

    def _outcome(
        self, attack: Attack, role: str, subject: Attacked, unattacked: Mapping[str, float] | None = None
    ) -> Outcome:
        if (known := self._known(attack, role, subject)) is not None:
            return known
        config, fingerprint = configuration(attack, subject), self._fingerprint(subject)
        found, seconds = self._found(attack, role, subject, unattacked)
        before = found.before or {name: value for name, value in (unattacked or {}).items() if name in found.after}
        outcome = Outcome(
            attack=attack.name,
            role=role,
            model=subject.model,
            before=before,
            after=found.after,
            curve=found.curve,
            seed=subject.seed,
            config=config,
            config_hash=config_hash(config),
            weights_fingerprint=fingerprint,
            seconds=seconds,
            rows=found.rows,
        )
        self._kept.append(outcome)
        write_outcomes(self.file, self._kept)
        return outcome


def _check_kind(attack: Attack, subject: Attacked) -> None:
    """Check that an attack is for models of this kind.

    Raises:
        ValueError: naming both.
    """
    if not isinstance(subject, attack.subjects):
        raise ValueError(
            f"{attack.name} attacks a {attack.subjects.__name__}, and {subject.model!r} with the data "
            f"{type(subject.data).__name__} is a {type(subject).__name__}. Accepted: Subject (language models, with an "
            "UnlearningDataModule) for attacks on texts, ImageSubject (text-to-image models, with a CanvasDataModule) "
            "for TextualInversion."
        )


def configuration(attack: Attack, subject: Attacked) -> dict[str, object]:
    """Everything that the outcome of an attack depends on except the weights, as plain data."""
    digest = hashlib.sha256()
    for row in subject.contents():
        digest.update(row.encode())
    return {
        "attack": record(attack),
        "data": record(subject.data.hparams),
        "rows": digest.hexdigest(),
        "forget_split": subject.forget_split,
        "retain_split": subject.retain_split,
        "seed": subject.seed,
        "max_new_tokens": subject.max_new_tokens,
        "precision": subject.precision,
        "full": dict(subject.full),
    }
