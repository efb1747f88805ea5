"""What ``unlearn-pl fit`` prints at its end: before and after, what was written where, and the next command."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.loggers import CSVLogger

from unlearn_pl.callbacks import EvaluationCallback, SavePretrained
from unlearn_pl.data import TextDataModule
from unlearn_pl.masking import MASKED
from unlearn_pl.modules import FineTuning, UnlearningModule
from unlearn_pl.modules.lightning_internals import attached_datamodule
from unlearn_pl.printable import printable

ROWS = 8
"""Most metrics of an evaluation in the table."""
INTERVALS = ("_low", "_high")


def fit_summary(
    trainer: pl.Trainer, seconds: float, moved: Sequence[tuple[Path, Path]] = (), last: Path | None = None
) -> str:
    """A few lines of at most 80 characters, paths apart.

    Args:
        trainer: has trained.
        seconds: duration of training.
        moved: former and new path of results of earlier weights.
        last: the checkpoint to resume from; None if there is none.
    """
    parts = [_heading(trainer, seconds), *map(_table, _evaluations(trainer)), _written(trainer, moved, last)]
    parts += [_prompt(trainer), _next(trainer, last)]
    return "\n\n".join(filter(None, parts))


def chosen_metrics(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    """The metrics of the forget and the retain set; the first few of all if no name says so.

    Args:
        before: metrics before training; may be empty.
        after: metrics after training; may be empty.
    """
    names = [name for name in dict.fromkeys([*before, *after]) if not name.endswith(INTERVALS)]
    of_sets = [name for name in names if "forget" in name or "retain" in name]
    return sorted(of_sets or names, key=_rank)[:ROWS]


def _rank(name: str) -> tuple[bool, bool]:
    """Probabilities first, and of these the forget set's."""
    return "probability" not in name, "forget" not in name


def _heading(trainer: pl.Trainer, seconds: float) -> str:
    module = trainer.lightning_module
    skipped = sum(module.skipped.values()) if isinstance(module, UnlearningModule) else 0
    note = f", {skipped} of them skipped" if skipped else ""
    steps = module.windows_closed if isinstance(module, UnlearningModule) else trainer.global_step
    return f"Trained for {steps} optimizer steps{note}, in {seconds:.0f} s."


def _table(evaluation: EvaluationCallback) -> str:
    before, after = dict(evaluation.before or {}), dict(evaluation.after or {})
    names = chosen_metrics(before, after)
    if not names:
        return ""
    width = max(len(evaluation.benchmark) + 1 + max(map(len, names)), 12)
    lines = [f"{'':<{width}} {'before':>9} {'after':>9}"]
    for name in names:
        key = printable(f"{evaluation.benchmark}/{name}")
        lines.append(f"{key:<{width}} {_cell(before.get(name)):>9} {_cell(after.get(name)):>9}")
    if not before:
        lines.append("(for the values before: --trainer.num_sanity_val_steps -1)")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _written(trainer: pl.Trainer, moved: Sequence[tuple[Path, Path]], last: Path | None) -> str:
    files = [(str(export.path(trainer)), _export_note(export)) for export in _exports(trainer)]
    if last is not None:
        files.append((str(last), "to resume: --ckpt_path last"))
    files.append((str(Path(trainer.default_root_dir) / "config_fit.yaml"), "all settings"))
    for logger in trainer.loggers:
        if isinstance(logger, CSVLogger):
            files.append((str(Path(logger.log_dir) / "metrics.csv"), "the curves"))
        elif logger.save_dir is not None:
            files.append((str(logger.save_dir), f"logs of {type(logger).__name__}"))
    files += [(str(new), f"results before this run, from {old.name}") for old, new in moved]
    shown = [(printable(_short(path)), meaning) for path, meaning in files]
    width = max(len(path) for path, _ in shown)
    return "\n".join(["Written:", *(f"  {path:<{width}}  {meaning}" for path, meaning in shown)])


def _export_note(export: SavePretrained) -> str:
    notes = {True: "reloads to the same logits", False: "does NOT reload to the same logits"}
    agrees = None if export.reload is None else export.reload.agrees
    parts = ["the model", *([] if agrees is None else [notes[agrees]])]
    if export.push_to_hub is not None:
        parts.append("uploaded" if export.uploaded else f"NOT uploaded to {export.push_to_hub.repo_id}")
    return "; ".join(parts)


def _prompt(trainer: pl.Trainer) -> str:
    """How training has laid out a question."""
    formats = [export.prompting.text for export in _exports(trainer) if export.prompting is not None]
    return f"Prompt format: {formats[-1]!r}" if formats else ""


def _next(trainer: pl.Trainer, last: Path | None) -> str:
    config = _short(str(Path(trainer.default_root_dir) / "config_fit.yaml"))
    if Path(config).is_file() and MASKED in Path(config).read_text(encoding="utf-8"):
        config += " -c YOURS.yaml"  # with the secrets and rows that are masked
    exports = [_short(str(callback.path(trainer))) for callback in _exports(trainer)]
    commands = []
    if _evaluations(trainer) and last is not None:
        commands.append(f"unlearn-pl test -c {config} --ckpt_path last")
    elif _evaluations(trainer) and exports:
        commands.append(f"unlearn-pl test -c {config} --model PretrainedModule --model.model {exports[-1]}")
    if not _evaluations(trainer):
        commands.append(f"unlearn-pl test -c {config} --ckpt_path last --trainer.callbacks QAEvaluation")
    if exports and (files := _own_files(trainer)):
        commands.append(f"unlearn-pl attack -c attacks/text --model {exports[-1]} {files}")
    return "\n".join(["Next:", *(f"  {command}" for command in commands)])


def _own_files(trainer: pl.Trainer) -> str:
    """Arguments of ``attack`` for the files that were unlearned from; empty for other data and for fine-tuning."""
    data, module = attached_datamodule(trainer), trainer.lightning_module
    if not isinstance(data, TextDataModule) or not isinstance(module, UnlearningModule):
        return ""
    if isinstance(module, FineTuning) or not all(isinstance(rows, str) for rows in (data.forget, data.retain)):
        return ""
    # Without the original model: the recipe's may be another one.
    files = {"forget": str(data.forget), "retain": str(data.retain)}
    return shlex.join([word for name, file in files.items() for word in (f"--data.{name}", file)])


def _short(path: str) -> str:
    """``path`` relative to the working directory, if it is inside."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def _evaluations(trainer: pl.Trainer) -> list[EvaluationCallback]:
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if isinstance(callback, EvaluationCallback)]


def _exports(trainer: pl.Trainer) -> list[SavePretrained]:
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if isinstance(callback, SavePretrained)]
