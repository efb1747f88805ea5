"""Everything that a page shows, as plain data."""

import base64
import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path

import unlearn_pl
from unlearn_pl.callbacks import EvaluationCallback
from unlearn_pl.metrics.direction import SPREADS
from unlearn_pl.printable import printable
from unlearn_pl.report.comparison import Comparison, Estimate
from unlearn_pl.report.evaluation_class import evaluation_class
from unlearn_pl.report.page.folder import RunFolder
from unlearn_pl.report.page.leaks import attack_rows, audit_rows, leakage_names, relearning
from unlearn_pl.report.page.plain import number, thinned
from unlearn_pl.report.page.questions import question_rows, question_scores
from unlearn_pl.report.page.training import conflicts, cost, curves, goals
from unlearn_pl.report.page.verdict import Judge, split_of
from unlearn_pl.results import evaluation_arguments

SCHEMA_VERSION = 1
PICTURES, PICTURE_BYTES = 6, 1_500_000
"""Pictures of a run that a page embeds, and the largest size of one."""
PNG = b"\x89PNG\r\n\x1a\n"
BEFORE, RUN, RETAIN = "before", "run", "retain"


def page_data(
    runs: Sequence[RunFolder],
    comparison: Comparison,
    before: RunFolder | None = None,
    retain: RunFolder | None = None,
    notes: Sequence[str] = (),
    max_questions: int = 2000,
) -> dict[str, object]:
    """Plain data about ``runs``, from which :func:`~unlearn_pl.report.page.page.render` makes the page.

    Args:
        runs: at least one, of one benchmark, with different names.
        comparison: of these runs and of ``before`` and ``retain``, with the retain model first if there is one.
        before: evaluation of the model before unlearning.
        retain: evaluation of the retain model.
        notes: sentences about what was found or not, besides those of the comparison.
        max_questions: largest number of rows in the table of questions.
    """
    found = evaluation_class(runs[0].results)
    judge = Judge(found.cls, comparison, before, retain)
    models = [
        *([(before, BEFORE)] if before else []),
        *((run, RUN) for run in runs),
        *([(retain, RETAIN)] if retain else []),
    ]
    rows, left_out = question_rows(found.cls, [model for model, _ in models], max_questions)
    more = [f"The table of questions has {len(rows)} rows; {left_out} more are not shown."] if left_out else []
    chance = _against_chance(found.cls, runs)
    headline = {
        name: found.cls.headline.find(getattr(found.cls.headline, name), runs[0].results.metrics)
        for name in ("forgotten", "kept", "utility")
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "made_with": {"unlearn_pl": unlearn_pl.__version__, **{p: version(p) for p in ("jinja2", "matplotlib")}},
        "benchmark": runs[0].results.benchmark,
        "redacted": False,
        "level": comparison.level,
        "resamples": comparison.resamples,
        "seed": comparison.seed,
        "notes": [printable(note) for note in (*notes, *comparison.notes, *chance, *more)],
        "headline": headline,
        "models": [_model(model, role) for model, role in models],
        "metrics": _metrics(found.cls, comparison, [model for model, _ in models]),
        "runs": [_run(found.cls, run, judge) for run in runs],
        "questions": rows,
        "question_scores": question_scores(found.cls, [model for model, _ in models]),
    }


def _model(run: RunFolder, role: str) -> dict[str, object]:
    results = run.results
    return {
        "name": printable(run.name),
        "role": role,
        "folder": printable(os.path.relpath(run.path)),
        "model": printable(results.model),
        "weights_fingerprint": results.weights_fingerprint,
        "config_hash": results.config_hash,
        "created": printable(str(results.created)),
        "seed": results.seed,
        "versions": {printable(str(k)): printable(str(v)) for k, v in dict(results.versions).items()},
    }


def _metrics(
    cls: type[EvaluationCallback], comparison: Comparison, models: Sequence[RunFolder]
) -> list[dict[str, object]]:
    splits = {split for model in models for split in model.results.per_example}
    names = [m for m in comparison.values if not _is_spread(m, comparison)]
    found: list[dict[str, object]] = []
    for metric in names:
        direction = cls.direction(metric)
        split = split_of(metric, dict.fromkeys(splits))
        if direction == "retain" and _is_quoted(cls, cls.headline.forgotten, metric):
            group = "forget"
        elif split is None and direction == "higher" and _is_quoted(cls, cls.headline.kept, metric):
            group = "kept"
        elif split is None or direction is None:
            group = "retain" if direction == "retain" else "summary"
        else:
            left = _is_of_forget_set(cls, split, comparison)
            group = "forget" if left else "retain" if direction == "retain" else "kept"
            group = "summary" if group == "forget" and direction == "higher" and metric in cls.against_retain else group
        values, differences = comparison.values[metric], comparison.differences.get(metric, {})
        found.append(
            {
                "name": printable(metric),
                "group": group,
                "direction": direction,
                "definition": cls.definition(metric),
                "values": {printable(name): _numbers(e, metric, name, comparison) for name, e in values.items()},
                "differences": {printable(name): _numbers(e) for name, e in differences.items()},
            }
        )
    return found


def _is_of_forget_set(cls: type[EvaluationCallback], split: str, comparison: Comparison) -> bool:
    """Whether a split is to be forgotten: by its name, or as nothing that is said of it should be high."""
    own = [cls.direction(metric) for metric in comparison.values if split_of(metric, {split: None})]
    return "forget" in split or ("higher" not in own and cls.holds_forget_set(split, comparison.values))


def _is_quoted(cls: type[EvaluationCallback], patterns: Sequence[str], metric: str) -> bool:
    """Whether a metric is among those of the headline that ``patterns`` choose, also where it is of several splits."""
    return metric not in cls.against_retain and any(fnmatchcase(metric, pattern) for pattern in patterns)


def _against_chance(cls: type[EvaluationCallback], models: Sequence[RunFolder]) -> list[str]:
    """A sentence per model with metrics that would compare with a retain model, and had none."""
    found = []
    for model in models:
        names = [name for name in model.results.metrics if name in cls.against_retain]
        given = evaluation_arguments(model.results)
        if names and all(value is None for key, value in given.items() if key.startswith("retain_")):
            found.append(
                f"Without retain_results, {', '.join(names)} of {model.name} compared with chance, not with a retain "
                "model."
            )
    return found


def _is_spread(metric: str, comparison: Comparison) -> bool:
    return any(metric.endswith(end) and metric.removesuffix(end) in comparison.values for end in SPREADS)


def _numbers(
    estimate: Estimate, metric: str = "", name: str = "", comparison: Comparison | None = None
) -> list[float | None]:
    """Value and ends of the interval, that of the evaluation itself where the comparison has none."""
    if estimate.interval is not None:
        return [number(estimate.value), *map(number, estimate.interval)]
    if comparison is not None:
        ends = [comparison.values.get(f"{metric}{end}", {}).get(name) for end in SPREADS[:2]]
        if all(ends):
            return [number(estimate.value), *(number(end.value) for end in ends if end)]
    return [number(estimate.value), None, None]


def _run(cls: type[EvaluationCallback], run: RunFolder, judge: Judge) -> dict[str, object]:
    reached, results = goals(run), run.results
    prefix = f"val/{results.benchmark}/"
    logged = {key.removeprefix(prefix): series for key, series in run.history.items() if key.startswith(prefix)}
    chosen = [judge.metric(patterns, run) for patterns in (cls.headline.forgotten, cls.headline.kept)]
    pictures = [path for path in run.pictures if _is_picture(path)][:PICTURES]
    missing = dict(run.missing)
    if left_out := [path.name for path in run.pictures if path not in pictures]:
        names = f"{', '.join(left_out[:3])}{', ...' if len(left_out) > 3 else ''}"
        missing["pictures"] = (
            f"Not shown of the pictures: {names}. Too many, too large, or not PNG files that can be read."
        )
    if run.history and not any(name in logged for name in chosen if name):
        missing["curve"] = "No validation during training measured the metrics of the headline, so no curve of them."
    return {
        "name": printable(run.name),
        "verdict": [{**one, "text": printable(one["text"])} for one in judge.sentences(run, reached)],
        "goals": reached,
        "cost": cost(run),
        "curves": curves(run.history),
        "conflicts": conflicts(run.history),
        "validation": {name: thinned(logged[name]) for name in chosen if name and name in logged},
        "attacks": attack_rows(run.attacks),
        "leakage": leakage_names(run.attacks),
        "relearning": relearning(run.attacks),
        "audits": [audit_rows(audit) for audit in run.audits],
        "missing": {section: printable(text) for section, text in missing.items()},
        "config": {"evaluation": plain(results.config), "training": plain(run.settings)},
        "pictures": [
            {"name": printable(path.name), "png": base64.b64encode(path.read_bytes()).decode()} for path in pictures
        ],
    }


def _is_picture(path: Path) -> bool:
    """Whether ``path`` is a PNG that a page can embed, and not the remains of one."""
    if not path.is_file() or path.stat().st_size > PICTURE_BYTES:
        return False
    with path.open("rb") as file:
        return file.read(len(PNG)) == PNG


def plain(value: object) -> object:
    """``value`` as dictionaries, lists and scalars of the plain types that YAML and JSON know."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if value is None or type(value) in (bool, int, float, str) else str(value)
