"""``unlearn-pl compare``: evaluations side by side, with intervals, if they are comparable."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from unlearn_pl.results import PerExample, Results

Format = Literal["text", "markdown", "csv", "json"]


def main(args: Sequence[str]) -> None:
    """Run ``unlearn-pl compare ARGS``."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(prog="unlearn-pl compare", description="Compare evaluations of the same questions.")
    parser.add_argument("--config", action="config")
    parser.add_argument("results", nargs="+", help="results.json files, or folders that hold one")
    parser.add_function_arguments(compare, skip={"results"})
    given = parser.parse_args(list(args)).as_dict()
    compare(**{name: value for name, value in given.items() if name != "config"})


def compare(
    results: Sequence[str],
    format: Format = "text",
    retain_results: str | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> None:
    """Print a row per metric and a column per run, with bootstrap intervals, and differences to the first run.

    Classes of evaluations that are not part of this library are imported from the working directory. Notes on missing
    intervals, and on what could not be checked, go to standard error.

    Args:
        results: ``results.json`` files, or folders that hold one.
        format: format of the table.
        retain_results: evaluation of the retain model that the runs were compared with; by default the path that the
            results record.
        level: coverage probability of the intervals.
        resamples: number of bootstrap draws.
        seed: random seed of the draws.

    Raises:
        ValueError: if a file is not a ``results.json``, or the runs are not comparable.
    """
    from unlearn_pl import report
    from unlearn_pl.printable import printable
    from unlearn_pl.results import read_results

    files = [_file(path) for path in results]
    runs = {name: read_results(file) for name, file in zip(_names(files), files, strict=True)}
    report.check_same_evaluation(runs)  # before the retain models are read, whose absence matters less
    retain, notes = _retain_scores(runs, retain_results)
    comparison = report.compare_results(runs, retain, level, resamples, seed)
    formats = {
        "text": report.comparison_text,
        "markdown": report.comparison_markdown,
        "csv": report.comparison_csv,
        "json": report.comparison_json,
    }
    print(formats[format](comparison))
    for note in (*notes, *comparison.notes):
        print(f"note: {printable(note)}", file=sys.stderr)


def _file(path: str) -> Path:
    file = Path(path) / "results.json" if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise ValueError(f"There is no results file {str(file)!r}. Give results.json files, or folders that hold one.")
    return file


def _names(files: Sequence[Path]) -> list[str]:
    """The folder of a ``results.json``, the name of another file, or whole paths where these are not distinct."""
    if len({file.resolve() for file in files}) < len(files):
        raise ValueError(f"A file is given twice: {', '.join(map(str, files))}.")
    short = [file.resolve().parent.name if file.name == "results.json" else file.stem for file in files]
    return short if len(set(short)) == len(short) else [str(file) for file in files]


def _retain_scores(runs: Mapping[str, "Results"], given: str | None) -> tuple[dict[str, "PerExample"], list[str]]:
    """The scores of the retain model for runs that were compared with one, and notes on files that are missing."""
    from unlearn_pl.report import evaluation_class
    from unlearn_pl.results import evaluation_arguments

    found = {name: evaluation_arguments(results).get("retain_results") for name, results in runs.items()}
    paths = {name: given or str(path) for name, path in found.items() if path is not None}
    if missing := sorted({path for path in paths.values() if not Path(path).is_file()}):
        if given or len(set(paths.values())) > 1:
            raise ValueError(
                f"There is no file {', '.join(map(repr, missing))}, so it is not known whether the runs were compared "
                "with the same retain model. Name its evaluation with --retain_results."
            )
        return {}, [
            f"Metrics that compare with the retain model have no interval: there is no file {missing[0]!r}. Say where "
            "its evaluation is with --retain_results."
        ]
    tables: dict[str, PerExample] = {}
    for name, path in paths.items():
        if path not in tables:  # all runs have the same class and arguments
            cls = evaluation_class(runs[name]).cls
            tables[path] = cls.read_retain_scores(path, evaluation_arguments(runs[name]))
    return {name: tables[path] for name, path in paths.items()}, []
