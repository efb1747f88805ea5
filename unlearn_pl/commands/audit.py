"""``unlearn-pl audit``: evaluation and attacks of a model within a time, and one verdict."""

import time
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from unlearn_pl.callbacks import EvaluationCallback
from unlearn_pl.commands.attack import announce, print_outcome, subject_of
from unlearn_pl.commands.parser import call, function_parser
from unlearn_pl.commands.story import quiet
from unlearn_pl.data import CanvasDataModule, TOFUDataModule, UnlearningDataModule
from unlearn_pl.models import DiffusionSpec
from unlearn_pl.modules.checkpoints.folder_lock import locked_folder
from unlearn_pl.printable import printable
from unlearn_pl.recording import record
from unlearn_pl.results import read_results, weights_fingerprint
from unlearn_pl.results.atomic_file import atomic_file
from unlearn_pl.robustness import (
    Attack,
    Audit,
    AuditReport,
    Outcome,
    verdict_markdown,
    verdict_of,
    write_report,
)
from unlearn_pl.robustness.attacked import Attacked, Precision
from unlearn_pl.robustness.reference_models import reference_models


def main(args: Sequence[str]) -> None:
    """Run ``unlearn-pl audit ARGS``."""
    call(audit, audit_parser(), args)


def audit_parser() -> ArgumentParser:
    """The parser of the command's arguments and of its YAML files."""
    return function_parser(audit, "Evaluate and attack a model, and give one verdict.")


def audit(
    model: str,
    data: UnlearningDataModule | CanvasDataModule,
    attacks: list[Attack],
    output: str = "runs/audit",
    evaluation: EvaluationCallback | None = None,
    retain_model: str | None = None,
    original_model: str | None = None,
    forget_split: str = "forget",
    retain_split: str | None = "retain",
    minutes: float | None = None,
    utility_loss: float = 0.1,
    level: float = 0.95,
    seed: int = 0,
    max_new_tokens: int = 64,
    accelerator: str = "auto",
    precision: Precision = "32-true",
    progress: bool = True,
    kind: DiffusionSpec | None = None,
) -> None:
    """Evaluate and attack a model, print the verdict, and write ``audit.json`` and ``audit.md``.

    With ``minutes``, the cheapest attacks come first, and those that are estimated not to end in time are listed as not
    run. What was done before, in ``attacks.json`` and ``results.json``, is not repeated, so that the same command with
    more time goes on. The models' folders are only read.

    Args:
        model: Hugging Face folder of the audited model, or the exported folder of a text-to-image model.
        data: data module with the forget and the retain split; its training options are not used. That of a
            text-to-image model is a CanvasDataModule.
        attacks: the attacks.
        output: folder to write.
        evaluation: evaluation of the audited model, which comes first; null for none. That of a text-to-image model is
            CanvasEvaluation, whose classifiers also judge the attacks.
        retain_model: folder of a model that never saw the forget set, attacked in the same way as a baseline.
        original_model: folder of the model before unlearning, whose leakage counts as complete.
        forget_split: name of the split with the forget set.
        retain_split: name of the split with the retain set; null for none.
        minutes: time that this call may take; null for all attacks.
        utility_loss: largest share of the utility, the probability of the retain answers, that an attack may cost to
            count.
        level: coverage of the intervals.
        seed: random seed of the attacks and of the intervals.
        max_new_tokens: length of generated answers.
        accelerator: the Trainer's.
        precision: the Trainer's.
        progress: whether to show progress bars within an attack.
        kind: kind of a text-to-image model, such as TinyUNet with its words; null for UNet, and for texts.

    Raises:
        ValueError: if a folder is missing, an attack is not possible, a number is out of range, or another audit writes
            to ``output``; before any model is loaded.
    """
    if minutes is not None and not minutes > 0:
        raise ValueError(f"minutes={minutes}; accepted is a positive number, or null for all attacks.")
    if not 0 < level < 1 or not 0 <= utility_loss < 1:
        raise ValueError(f"level={level} and utility_loss={utility_loss}; accepted are shares between 0 and 1.")
    start, outcomes = time.monotonic(), list[Outcome]()
    subject = subject_of(
        model,
        data,
        kind,
        evaluation,
        forget_split=forget_split,
        retain_split=retain_split,
        seed=seed,
        max_new_tokens=max_new_tokens,
        accelerator=accelerator,
        precision=precision,
        progress=progress,
    )
    audited = Audit(subject, attacks, output, retain_model, original_model, announce)
    with locked_folder(output, "audit", "--output"), locked_folder(output, "attack", "--output"), quiet():
        audited.check()
        evaluated = {} if evaluation is None else _evaluated(subject, evaluation, Path(output))
        if minutes is not None:
            audited.seconds = max(1e-9, 60 * minutes - (time.monotonic() - start))
        for outcome in audited.run():
            outcomes.append(outcome)
            print_outcome(outcome)
        references = reference_models(data.forget_split) if isinstance(data, TOFUDataModule) else ()
        changing = {attack.name for attack in attacks if attack.changes_weights}
        verdict = verdict_of(outcomes, changing, utility_loss, level, seed, references)
        report = AuditReport(
            models={outcome.role: outcome.model for outcome in outcomes},
            fingerprints={outcome.role: outcome.weights_fingerprint for outcome in outcomes},
            evaluation=evaluated,
            verdict=verdict,
            not_run=audited.not_run,
            seconds=sum(outcome.seconds for outcome in outcomes),
            budget=None if minutes is None else 60 * minutes,
            seed=seed,
        )
        write_report(Path(output) / "audit.json", report)
        text = verdict_markdown(verdict, audited.not_run)
        with atomic_file(Path(output) / "audit.md") as file:
            file.write_text(text, encoding="utf-8")
    print(printable(text, keep="\n"))
    print(f"Written to {Path(output) / 'audit.json'}")


def _evaluated(subject: Attacked, evaluation: EvaluationCallback, folder: Path) -> dict[str, dict[str, float]]:
    """Metrics of the audited model by benchmark, from the file of an earlier audit where it is of the same model."""
    evaluation.folder = str(folder)
    file = Path(evaluation.output or folder / "results.json")
    module = subject.pretrained()
    if file.is_file():
        kept = read_results(file)
        same = kept.config.get("evaluation") == record(evaluation) and kept.config.get("data") == record(subject.data)
        if same and kept.weights_fingerprint == weights_fingerprint(subject.build()):
            return {kept.benchmark: dict(kept.metrics)}
    announce(type(evaluation).__name__, "audited")
    with subject.drawing():
        subject.trainer(callbacks=[evaluation]).test(module, datamodule=subject.data, verbose=False)
    assert evaluation.results is not None
    return {evaluation.benchmark: dict(evaluation.results.metrics)}
