"""The command: parse, run the points one after another or write files for a scheduler, and print the front."""

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from pathlib import Path

from unlearn_pl.commands.sweep.points import Point, parsed_grid, points_of
from unlearn_pl.commands.sweep.runs import RESULTS, Recipe, check_same, is_done, outcome, run
from unlearn_pl.commands.sweep.schedulers import write_slurm, write_wandb
from unlearn_pl.commands.sweep.table import front_table, write_front
from unlearn_pl.modules.checkpoints.folder_lock import locked_folder
from unlearn_pl.printable import printable
from unlearn_pl.report.front import Better, Front, pareto_front
from unlearn_pl.results import check_writable

EXAMPLE = """example:
  unlearn-pl sweep -c synthetic/mollm --grid 'model.optimizer.init_args.lr=[1.0e-3, 3.0e-3]' --seeds 3
      --front forget_probability:lower retain_probability:higher --trainer.max_epochs 5

Arguments that are not named here go to `unlearn-pl fit` and `unlearn-pl test`; with --print_config, nothing is run, and
the configuration of the first run is printed."""

PRINT = "--print_config"
FRONT = ("forget_probability:lower", "retain_probability:higher")


def main(args: Sequence[str]) -> None:
    """Run ``unlearn-pl sweep ARGS``."""
    given, passed = _parser().parse_known_args(list(args))
    points = points_of(parsed_grid(given.grid), given.seeds)
    axes = parsed_axes(given.front)
    output = Path(given.output)
    recipe = Recipe(passed, given.seeded, given.results)
    if PRINT in passed:
        _print_config(points[0], recipe)
        return
    for point in points:
        check_same(point, output / point.name, recipe)
    check_writable(output, "--output")
    if given.write is not None:
        _write(given, [*_shared(given), *passed], output, len(points))
    elif given.point is not None:
        _run_one(given.point, points, output, recipe)
    else:
        with locked_folder(output, "sweep", "--output"):
            _run_all(points, output, recipe, axes)


def parsed_axes(given: Sequence[str]) -> dict[str, Better]:
    """Metric to which values are better, as ``METRIC:higher`` or ``METRIC:lower`` says.

    Raises:
        ValueError: if one says neither, or a metric is given twice.
    """
    axes: dict[str, Better] = {}
    for text in given:
        metric, _, better = text.rpartition(":")
        if not metric or metric in axes or better not in ("higher", "lower"):
            raise ValueError(
                f"--front {text!r}; accepted: METRIC:higher or METRIC:lower, each metric once, such as {FRONT[0]}."
            )
        axes[metric] = "higher" if better == "higher" else "lower"
    return axes


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="unlearn-pl sweep",
        description="Run a recipe with several values and seeds, and show the settings that no other one beats.",
        epilog=EXAMPLE,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="NAME=[VALUE, ...]",
        help="argument of fit and values",
    )
    parser.add_argument("--seeds", type=int, default=1, help="runs of every setting, with the seeds 0, 1, ...")
    parser.add_argument(
        "--seeded",
        nargs="+",
        default=["seed_everything", "data.seed"],
        metavar="NAME",
        help="arguments of fit that take the seed",
    )
    parser.add_argument("--output", default="runs/sweep", help="folder of the sweep, with a folder for every run")
    parser.add_argument(
        "--front", nargs="+", default=list(FRONT), metavar="METRIC:higher|lower", help="axes of the Pareto front"
    )
    parser.add_argument("--results", default=RESULTS, metavar="FILE", help="results file in the folder of a run")
    parser.add_argument(
        "--write", choices=("slurm", "wandb"), help="write a file for a scheduler instead of running anything"
    )
    parser.add_argument("--point", type=int, metavar="N", help="run the N-th point alone, as schedulers do")
    return parser


def _shared(given: Namespace) -> list[str]:
    """The arguments of this command, without what names a point."""
    return [
        *(argument for text in given.grid for argument in ("--grid", text)),
        *("--seeds", str(given.seeds), "--output", given.output, "--results", given.results),
        *("--seeded", *given.seeded, "--front", *given.front),
    ]


def _print_config(point: Point, recipe: Recipe) -> None:
    """Print the configuration of a run."""
    from unlearn_pl.commands.trainer import UnlearnCLI

    UnlearnCLI(["fit", *recipe.of(point)])


def _write(given: Namespace, arguments: Sequence[str], output: Path, points: int) -> None:
    output.mkdir(parents=True, exist_ok=True)
    path = (write_slurm if given.write == "slurm" else write_wandb)(output, arguments, points)
    command = "sbatch" if given.write == "slurm" else "wandb sweep"
    print(f"{points} points. Start them with: {command} {printable(str(path))}")
    print("Afterwards, the same command without --write shows the front.")


def _run_one(index: int, points: Sequence[Point], output: Path, recipe: Recipe) -> None:
    if not 0 <= index < len(points):
        raise ValueError(f"--point {index}; accepted: 0 to {len(points) - 1}, the points of this sweep.")
    point = points[index]
    if failed := run(point, output / point.name, recipe):
        raise ValueError(f"{point.name} failed: {failed} All of its output is in {output / point.name / 'log.txt'}.")


def _run_all(points: Sequence[Point], output: Path, recipe: Recipe, axes: Mapping[str, Better]) -> None:
    failures: dict[str, str] = {}
    for number, point in enumerate(points, start=1):
        done = is_done(output / point.name, recipe)
        print(f"{number}/{len(points)} {printable(point.name)}{' (done before)' if done else ''}", flush=True)
        if failed := run(point, output / point.name, recipe):
            failures[point.name] = failed
            print(f"    failed: {printable(failed)}", flush=True)
    outcomes: dict[str, list[dict[str, float]]] = {}
    for point in points:
        if point.name not in failures:
            outcomes.setdefault(point.setting, []).append(outcome(output / point.name, recipe))
    if outcomes:
        _show(pareto_front(outcomes, axes, ["backward_passes"]), output)
    if failures:
        names = ", ".join(failures)
        print(
            f"{len(failures)} of {len(points)} runs failed ({names}); run the sweep again to repeat them.",
            file=sys.stderr,
        )
        sys.exit(1)


def _show(front: Front, output: Path) -> None:
    print(f"\n{front_table(front)}")
    write_front(front, output)
    print(f"\nWritten to {printable(str(output))}: sweep.json, front.png")
