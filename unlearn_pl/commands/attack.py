"""``unlearn-pl attack``: robustness attacks on an unlearned model."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from unlearn_pl.callbacks import CanvasEvaluation, EvaluationCallback
from unlearn_pl.commands.parser import call, function_parser
from unlearn_pl.commands.story import quiet
from unlearn_pl.data import CanvasDataModule, UnlearningDataModule
from unlearn_pl.models import DiffusionSpec
from unlearn_pl.modules.checkpoints.folder_lock import locked_folder
from unlearn_pl.printable import printable
from unlearn_pl.robustness import Attack, Audit, ImageSubject, Outcome, Subject
from unlearn_pl.robustness.attacked import Attacked, Precision
from unlearn_pl.robustness.audit import RETAIN_MODEL

SCORES = ("probability", "extraction_strength", "rouge")
OF_IMAGES = ("accuracy", "other_accuracy", "both_accuracy")
CURVE = "forget_probability"


def main(args: Sequence[str]) -> None:
    """Run ``unlearn-pl attack ARGS``."""
    call(attack, attack_parser(), args)


def attack_parser() -> ArgumentParser:
    """The parser of the command's arguments and of its YAML files."""
    return function_parser(attack, "Try to recover forgotten answers.")


def attack(
    model: str,
    data: UnlearningDataModule | CanvasDataModule,
    attacks: list[Attack],
    output: str = "runs/attacks",
    retain_model: str | None = None,
    original_model: str | None = None,
    forget_split: str = "forget",
    retain_split: str | None = "retain",
    seed: int = 0,
    max_new_tokens: int = 64,
    accelerator: str = "auto",
    precision: Precision = "32-true",
    progress: bool = True,
    kind: DiffusionSpec | None = None,
    evaluation: EvaluationCallback | None = None,
) -> None:
    """Attack a model, print a table, and write ``attacks.json`` and ``relearning.png``.

    Attacks whose outcome for the same configuration and the same weights is already in ``attacks.json`` are not
    repeated. The models' folders are only read.

    Args:
        model: Hugging Face folder of the audited model, or the exported folder of a text-to-image model.
        data: data module with the forget and the retain split; its training options are not used. That of a
            text-to-image model is a CanvasDataModule.
        attacks: the attacks, in their order.
        output: folder to write.
        retain_model: folder of a model that never saw the forget set, attacked in the same way as a baseline.
        original_model: folder of the model before unlearning, whose leakage counts as complete.
        forget_split: name of the split with the forget set.
        retain_split: name of the split with the retain set; null for none.
        seed: random seed of the attacks.
        max_new_tokens: length of generated answers.
        accelerator: the Trainer's.
        precision: the Trainer's.
        progress: whether to show progress bars within an attack.
        kind: kind of a text-to-image model, such as TinyUNet with its words; null for UNet, and for texts.
        evaluation: of a text-to-image model, CanvasEvaluation, whose classifiers look at the images; null for texts.

    Raises:
        ValueError: if a folder is missing, an attack is not possible, or another audit writes to ``output``; before any
            model is loaded.
    """
    if isinstance(data, UnlearningDataModule) and evaluation is not None:
        raise ValueError(
            "evaluation is for text-to-image models; accepted with texts: null (`audit` evaluates as well)."
        )
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
    outcomes = []
    audit = Audit(subject, attacks, output, retain_model, original_model, announce)
    with locked_folder(output, "attack", "--output"), quiet():
        for outcome in audit.run():
            outcomes.append(outcome)
            print_outcome(outcome)
    _print_table(outcomes)
    print(f"Written to {audit.file}")
    _draw(outcomes, Path(output) / "relearning.png")


def subject_of(
    model: str,
    data: UnlearningDataModule | CanvasDataModule,
    kind: DiffusionSpec | None,
    evaluation: EvaluationCallback | None,
    **shared: Any,
) -> Attacked:
    """The model under attack, of the kind that the data is for.

    Args:
        model: its folder.
        data: its data module.
        kind: kind of a text-to-image model.
        evaluation: of a text-to-image model.
        shared: the further arguments of :class:`~unlearn_pl.robustness.Subject`.

    Raises:
        ValueError: if ``kind`` is given for a language model, or the evaluation is not of images.
    """
    if isinstance(data, UnlearningDataModule):
        if kind is not None:
            raise ValueError(
                f"kind is {type(kind).__name__}, of a text-to-image model, but the data is {type(data).__name__}; "
                "accepted with it: a CanvasDataModule."
            )
        return Subject(model, data, **shared)
    if evaluation is not None and not isinstance(evaluation, CanvasEvaluation):
        raise ValueError(
            f"evaluation is {type(evaluation).__name__}; accepted for {type(data).__name__}: CanvasEvaluation."
        )
    return ImageSubject(model, data, **shared, kind=kind, evaluation=evaluation)


def _print_table(outcomes: Sequence[Outcome]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, title="Leakage of the forget answers, before and under attack")
    table.add_column("attack", no_wrap=True)
    table.add_column("model", no_wrap=True)
    shown = OF_IMAGES if any(f"forget_{OF_IMAGES[0]}" in outcome.after for outcome in outcomes) else SCORES
    for score in shown:
        table.add_column(score.replace("_", " "), no_wrap=True, justify="center")
    for column in ("area", "steps to half"):
        table.add_column(column, no_wrap=True, justify="right")
    for outcome in outcomes:
        after, curve = outcome.after, (f"{CURVE}_area", f"{CURVE}_half")
        table.add_row(
            escape(printable(outcome.attack)),
            escape(printable(outcome.role)),
            *(_change(outcome, f"forget_{score}") for score in shown),
            *(_cell(after.get(name)) for name in curve),
        )
    Console(width=max(120, Console().width)).print(table)
    print(caption(outcomes))


def caption(outcomes: Sequence[Outcome]) -> str:
    """What the columns and rows of the table mean, as far as they are there.

    Args:
        outcomes: those of the table.
    """
    if any(outcome.role == RETAIN_MODEL for outcome in outcomes):
        sentences = ["The retain model never saw the answers: leakage above its own is what unlearning has left."]
    else:
        sentences = [
            "Without a retain model (--retain_model), which never saw the answers, it is not known how much of the "
            "leakage any model would show."
        ]
    if any(outcome.curve for outcome in outcomes):
        sentences.append(
            "Area and steps to half are of the probability; relearning is evaluated on the rows that it does not "
            "train on."
        )
    return " ".join(sentences)


def announce(attack: str, role: str) -> None:
    """Print that an attack begins.

    Args:
        attack: its name.
        role: of the attacked model.
    """
    print(printable(f"{role} model, {attack} ..."), flush=True)


def print_outcome(outcome: Outcome) -> None:
    """Print that an attack has ended, and how long it took."""
    print(printable(f"{outcome.role} model, {outcome.attack}: {outcome.seconds:.0f} s"), flush=True)


def _change(outcome: Outcome, name: str) -> str:
    after = _cell(outcome.after.get(name))
    return f"{_cell(outcome.before[name])} -> {after}" if name in outcome.before else after


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return "never" if value == math.inf else f"{value:.1f}" if value >= 2 else f"{value:.2f}"


def _draw(outcomes: Sequence[Outcome], path: Path) -> None:
    from unlearn_pl.report import plot_relearning

    if curves := relearning_curves(outcomes):
        plot_relearning(curves, path)
        print(f"Written to {path}")


def relearning_curves(outcomes: Sequence[Outcome]) -> dict[str, list[tuple[float, float]]]:
    """Name of a curve to its points ``(step, forget probability)``.

    Attacks of the same name, such as those with other learning rates, are numbered from the second one.

    Args:
        outcomes: outcomes of any attacks.
    """
    curves, names = {}, Counter[str]()
    for outcome in outcomes:
        if CURVE in outcome.curve:
            name = f"{outcome.role}: {outcome.attack}"
            names[name] += 1
            points = list(zip(outcome.curve["step"], outcome.curve[CURVE], strict=True))
            curves[name if names[name] == 1 else f"{name}, {names[name]}"] = points
    return curves
