"""``unlearn-pl report``: one page about runs, which needs no network."""

from collections.abc import Sequence
from pathlib import Path


def main(args: Sequence[str]) -> None:
    """Run ``unlearn-pl report ARGS``."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(prog="unlearn-pl report", description="Write one page about one or several runs.")
    parser.add_argument("--config", action="config")
    parser.add_argument("runs", nargs="+", help="folders with a results.json, or a page to make again")
    parser.add_function_arguments(report, skip={"runs"})
    given = parser.parse_args(list(args)).as_dict()
    report(**{name: value for name, value in given.items() if name != "config"})


def report(
    runs: Sequence[str],
    output: str | None = None,
    before: str | None = None,
    retain: str | None = None,
    attacks: list[str] | None = None,
    redact: bool = False,
    pictures: bool = True,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    max_questions: int = 2000,
) -> None:
    """Write a self-contained HTML page about runs: verdict, metrics, training, attacks, every question.

    The page loads nothing from anywhere, holds its data with a digest, and is made again from it if it is given in the
    place of runs.

    Args:
        runs: folders with a ``results.json``, or one page that was written before.
        output: HTML file to write; by default ``report.html`` in the folder of the first run.
        before: folder or ``results.json`` of the model before unlearning; by default those beside the weights that the
            runs started from.
        retain: the same of the retain model; by default the file that the results record.
        attacks: folders with ``attacks.json`` or ``audit.json``, besides those in the folders of the runs.
        redact: hide the texts of the forget set, everywhere in the page and in its data.
        pictures: write the charts as PNG files, too, into ``<output>_figures``.
        level: coverage probability of the intervals.
        resamples: number of bootstrap draws.
        seed: random seed of the draws.
        max_questions: largest number of rows in the table of questions.

    Raises:
        ValueError: if there are no results, the runs are not comparable, or the folder cannot be written to.
    """
    from unlearn_pl.printable import printable
    from unlearn_pl.report.page.make import report_data, write_page
    from unlearn_pl.results import check_writable

    pages = [path for path in runs if path.endswith((".html", ".htm"))]
    if pages and len(runs) > 1:
        raise ValueError(f"A page is made again alone; got {', '.join(runs)}.")
    folder = Path(runs[0]) if Path(runs[0]).is_dir() else Path(runs[0]).parent
    file = Path(output) if output else folder / "report.html"
    check_writable(file.parent, "output")
    if pages:
        data = _page_again(pages[0], redact)
    else:
        data = report_data(runs, before, retain, attacks or [], level, resamples, seed, redact, max_questions)
    written = write_page(data, file, pictures)
    print(printable(f"Written to {written[0]}" + (f", and {len(written) - 1} pictures beside it" if pictures else "")))


def _page_again(path: str, redact: bool) -> dict[str, object]:
    from unlearn_pl.report import read_page
    from unlearn_pl.report.page.redaction import redacted

    data = read_page(path)
    return redacted(data) if redact and not data["redacted"] else data
