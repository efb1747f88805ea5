"""Reports from folders of runs, and from pages that were made before."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from unlearn_pl.report.comparison import check_same_evaluation, compare_checked
from unlearn_pl.report.evaluation_class import evaluation_class
from unlearn_pl.report.page.charts import pngs
from unlearn_pl.report.page.data import page_data
from unlearn_pl.report.page.drawn import overview, run_charts
from unlearn_pl.report.page.folder import RunFolder, read_run
from unlearn_pl.report.page.page import data_of, render
from unlearn_pl.report.page.redaction import redacted
from unlearn_pl.report.page.roles import before_of, retain_of, without
from unlearn_pl.results import PerExample, check_writable, evaluation_arguments
from unlearn_pl.results.atomic_file import atomic_file


def report_data(
    runs: Sequence[str | Path],
    before: str | None = None,
    retain: str | None = None,
    attacks: Sequence[str] = (),
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    redact: bool = False,
    max_questions: int = 2000,
) -> dict[str, object]:
    """Everything that a report on ``runs`` shows, as plain data.

    Args:
        runs: folders with a ``results.json``, or such files.
        before: evaluation of the model before unlearning; by default that beside the weights that the runs started
            from.
        retain: evaluation of the retain model; by default the one that the runs record.
        attacks: folders or files with attacks and audits, besides those in the runs' folders. Counted are those on the
            weights that were evaluated.
        level: coverage probability of the intervals.
        resamples: number of bootstrap draws.
        seed: random seed of the draws.
        redact: leave out the texts of the forget set.
        max_questions: largest number of rows in the table of questions.

    Raises:
        ValueError: if there are no results, they are not comparable, or a number is out of range.
    """
    if not runs:
        raise ValueError("A report needs at least one run; got none. Give folders that hold a results.json.")
    if max_questions < 0:
        raise ValueError(f"max_questions={max_questions}; accepted are 0 and more.")
    _check_attacks(attacks)
    folders = _named([read_run(path, others=attacks) for path in runs])
    notes = check_same_evaluation({run.name: run.results for run in folders}) if len(folders) > 1 else []
    retained, more = retain_of(folders, retain)
    notes += more
    started, more = before_of(without(folders, retained), before)
    notes += more
    reported = without(folders, retained, started)
    if retained in reported or (retained and retained.path in {run.path for run in reported}):
        retained = None  # the only run is the retain model itself
    if started and started.path in {run.path for run in reported}:
        started = None
    models = [*([retained] if retained else []), *([started] if started else []), *reported]
    compared = {model.name: model.results for model in models}
    if len(compared) < len(models):
        raise ValueError(f"Two models have the same name: {', '.join(model.name for model in models)}.")
    if len(compared) > 1:
        notes += [note for note in check_same_evaluation(compared) if note not in notes]
    scores = _retain_scores(models, retained)
    comparison = compare_checked(compared, scores, level, resamples, seed)
    data = page_data(reported, comparison, started, retained, notes, max_questions)
    return redacted(data) if redact else data


def write_page(data: Mapping[str, object], output: str | Path, pictures: bool = True) -> list[Path]:
    """Write a report, and its charts as PNG files in a folder beside it.

    Args:
        data: of :func:`report_data`.
        output: HTML file to write; the pictures go to ``<name without .html>_figures``.
        pictures: whether to write the pictures.

    Returns:
        The files that were written, the page first.

    Raises:
        ValueError: if the folder cannot be written to.
    """
    output = Path(output)
    check_writable(output.parent, "output")
    html = render(data)
    with atomic_file(output) as unfinished:
        unfinished.write_text(html, encoding="utf-8")
    if not pictures:
        return [output]
    runs = data["runs"]
    assert isinstance(runs, list)
    drawn = [*overview(data), *(chart for number, run in enumerate(runs) for chart in run_charts(run, number))]
    folder = output.with_name(f"{output.stem}_figures")
    files = [(folder / name, chart) for name, chart in pngs(drawn)]
    for path, chart in files:
        chart.write_png(path)
    return [output, *(path for path, _ in files)]


def read_page(path: str | Path) -> dict[str, object]:
    """The data of a report that was written before.

    Args:
        path: the HTML file.

    Raises:
        ValueError: if it is not a report, or was changed.
    """
    try:
        return data_of(Path(path).read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ValueError(f"{str(path)!r} cannot be used: {error}") from error


def _check_attacks(places: Sequence[str]) -> None:
    for place in places:
        names = (
            [Path(place) / name for name in ("attacks.json", "audit.json")] if Path(place).is_dir() else [Path(place)]
        )
        if not any(name.is_file() for name in names):
            raise ValueError(f"There is no attacks.json or audit.json in {place!r}, which --attacks names.")


def _named(runs: Sequence[RunFolder]) -> list[RunFolder]:
    """``runs`` with names that differ: those of their folders, or whole paths where these are not distinct."""
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise ValueError(f"A run is given twice: {', '.join(str(run.path) for run in runs)}.")
    if len({run.name for run in runs}) == len(runs):
        return list(runs)
    return [replace(run, name=str(run.path)) for run in runs]


def _retain_scores(models: Sequence[RunFolder], retain: RunFolder | None) -> dict[str, PerExample]:
    if retain is None:
        return {}
    file = str(retain.file)
    found: dict[str, PerExample] = {}
    for model in models:
        if model.retain_results is not None:
            cls = evaluation_class(model.results).cls
            found[model.name] = cls.read_retain_scores(file, evaluation_arguments(model.results))
    return found
