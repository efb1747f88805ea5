"""Attacks on a model and on the models that it is compared with."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from unlearn_pl.recording import record
from unlearn_pl.results import check_writable, config_hash, weights_fingerprint
from unlearn_pl.robustness.attacks.attack import Attack
from unlearn_pl.robustness.attacks.unattacked import Unattacked
from unlearn_pl.robustness.outcome import Outcome, read_outcomes, write_outcomes
from unlearn_pl.robustness.target import Subject
from unlearn_pl.upgrading import upgraded

AUDITED, RETAIN_MODEL, ORIGINAL = "audited", "retain", "original"


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
    """

    def __init__(
        self,
        subject: Subject,
        attacks: Sequence[Attack],
        output: str | Path,
        retain_model: str | None = None,
        original_model: str | None = None,
        on_start: Callable[[str, str], None] | None = None,
    ) -> None:
        self.subject = subject
        self.attacks = list(attacks)
        self.file = Path(output) / "attacks.json"
        self._others = {RETAIN_MODEL: retain_model, ORIGINAL: original_model}
        self._on_start = on_start
        self._kept: list[Outcome] = []
        self._fingerprints: dict[str, str] = {}

    def run(self) -> Iterator[Outcome]:
        """The outcomes of all attacks, one by one: those of ``Unattacked`` first.

        Raises:
            ValueError: if a model is missing, an attack is not possible or the output cannot be written; before any
                model is loaded.
        """
        subjects = self._subjects()
        self._check(subjects)
        self._kept = read_outcomes(self.file) if self.file.exists() else []
        before = {role: self._outcome(Unattacked(), role, subject) for role, subject in subjects.items()}
        yield from before.values()
        full = before[ORIGINAL].after if ORIGINAL in before else {}
        for attack in self.attacks:
            for role in (AUDITED, RETAIN_MODEL):
                if role in subjects:
                    subject = replace(subjects[role], full=full)
                    yield self._outcome(attack, role, subject, before[role].after)

    def _subjects(self) -> dict[str, Subject]:
        others = {role: folder for role, folder in self._others.items() if folder is not None}
        return {AUDITED: self.subject, **{role: replace(self.subject, model=other) for role, other in others.items()}}

    def _check(self, subjects: Mapping[str, Subject]) -> None:
        for subject in subjects.values():
            subject.check()
            if self.file.resolve().is_relative_to(Path(subject.model).resolve()):
                raise ValueError(
                    f"output={str(self.file.parent)!r} is in the model's folder {subject.model!r}, which is never "
                    "written to; choose another folder."
                )
        check_writable(self.file.parent, "output")
        for attack in self.attacks:
            attack.check(self.subject)

    def _outcome(
        self, attack: Attack, role: str, subject: Subject, unattacked: Mapping[str, float] | None = None
    ) -> Outcome:
        if subject.model not in self._fingerprints:
            self._fingerprints[subject.model] = weights_fingerprint(subject.build())
        config, fingerprint = configuration(attack, subject), self._fingerprints[subject.model]
        known = {(config_hash(upgraded(kept.config)), kept.weights_fingerprint, kept.role): kept for kept in self._kept}
        key = (config_hash(config), fingerprint, role)
        if key in known:
            return known[key]
        if self._on_start is not None:
            self._on_start(attack.name, role)
        start = time.monotonic()
        found = attack.run(subject)
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
            config_hash=key[0],
            weights_fingerprint=fingerprint,
            seconds=time.monotonic() - start,
        )
        self._kept.append(outcome)
        write_outcomes(self.file, self._kept)
        return outcome


def configuration(attack: Attack, subject: Subject) -> dict[str, object]:
    """Everything that the outcome of an attack depends on except the weights, as plain data."""
    digest = hashlib.sha256()
    for row in (*subject.forget, *subject.retain):
        digest.update(repr(row).encode())
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
