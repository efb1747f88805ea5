"""The model before unlearning and the retain model of reported runs, as far as their evaluations are found."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unlearn_pl.report.comparison import check_same_evaluation
from unlearn_pl.report.evaluation_class import evaluation_class
from unlearn_pl.report.page.folder import RunFolder, read_run

STARTS = ("model", "name", "weights")
"""Arguments of specs that hold the model to start from: another spec, a folder or a name."""
HOW_TO_GET = {
    "--retain": "Train a model in the same way without the forget set, evaluate it with unlearn-pl test",
    "--before": "Evaluate the model that unlearning started from with unlearn-pl test",
}


def retain_of(runs: Sequence[RunFolder], given: str | None) -> tuple[RunFolder | None, list[str]]:
    """The evaluation of the retain model, and notes.

    Args:
        runs: the reported runs.
        given: its folder or file; by default the path that the runs record.

    Raises:
        ValueError: if ``given`` is not comparable with the runs.
    """
    recorded = list(dict.fromkeys(run.retain_results for run in runs if run.retain_results))
    if given is None and not recorded and not _are_judged_by_it(runs):
        return None, []
    if given is None and len(recorded) > 1:
        return None, [f"The runs record different retain models: {', '.join(recorded)}. Choose one with --retain."]
    return _reference(runs, given, recorded[0] if recorded else None, "retain model", "--retain")


def before_of(runs: Sequence[RunFolder], given: str | None) -> tuple[RunFolder | None, list[str]]:
    """The evaluation of the model before unlearning, and notes.

    Args:
        runs: the reported runs.
        given: its folder or file; by default the ``results.json`` beside the weights that the runs started from.

    Raises:
        ValueError: if ``given`` is not comparable with the runs.
    """
    started = list(dict.fromkeys(filter(None, map(_start, runs))))
    if given is None and len(started) > 1:
        return None, [f"The runs start from different models: {', '.join(started)}. Choose one with --before."]
    names = ("results.json", f"results_{runs[0].results.benchmark}.json")
    found = [place / name for start in started for place in (Path(start), Path(start).parent) for name in names]
    file = next((str(file) for file in found if file.is_file()), None)
    return _reference(runs, given, file, "model before unlearning", "--before")


def without(runs: Sequence[RunFolder], *references: RunFolder | None) -> list[RunFolder]:
    """``runs`` without those that are the references themselves; all of them if nothing else would be left.

    Args:
        runs: the reported runs.
        references: evaluations of other roles.
    """
    theirs = {reference.path.resolve() for reference in references if reference}
    return [run for run in runs if run.path.resolve() not in theirs] or list(runs)


def _start(run: RunFolder) -> str | None:
    arguments = run.settings.get("init_args")
    model = arguments.get("model") if isinstance(arguments, dict) else None
    while isinstance(model, dict):  # of specs, such as that of LoRA, in which the model is an argument again
        inner = model.get("init_args", model)
        model = next(filter(None, map(inner.get, STARTS)), None) if isinstance(inner, dict) else None
    return model if isinstance(model, str) else None


def _are_judged_by_it(runs: Sequence[RunFolder]) -> bool:
    """Whether a metric of the runs is good where it is that of the retain model, or may be."""
    cls = evaluation_class(runs[0].results).cls
    return any(cls.direction(metric) in ("retain", None) for run in runs for metric in run.results.metrics)


def _reference(
    runs: Sequence[RunFolder], given: str | None, found: str | None, role: str, flag: str
) -> tuple[RunFolder | None, list[str]]:
    path = given or found
    if path is None:
        return None, [f"No evaluation of the {role} was found. {HOW_TO_GET[flag]}, and name its folder with {flag}."]
    if given is None and not Path(path).is_file():
        return None, [f"The evaluation of the {role}, {path!r}, is not there; say where it is with {flag}."]
    try:
        reference = read_run(path)
    except ValueError as error:
        if given is not None:
            raise
        return None, [f"The evaluation of the {role} cannot be used: {error}"]
    name = reference.name if reference.name not in {run.name for run in runs} else f"{reference.name} ({role})"
    if reference.path.resolve() in {run.path.resolve() for run in runs}:
        name = next(run.name for run in runs if run.path.resolve() == reference.path.resolve())
    reference = replace(reference, name=name)
    try:
        check_same_evaluation({runs[0].name: runs[0].results, f"the {role}": reference.results})
    except ValueError as error:
        if given is not None:
            raise
        return None, [f"The evaluation of the {role} in {path!r} is not comparable: {error}"]
    return reference, []
