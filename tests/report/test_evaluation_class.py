"""The class of an evaluation is found by its path: a user's own, old paths, and paths that must run nothing."""

import ast
import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.report.made_up_runs import evaluation, made_by, ratios, results
from unlearn_pl import callbacks
from unlearn_pl.callbacks import EvaluationCallback, MUSEEvaluation, TOFUEvaluation, WMDPEvaluation
from unlearn_pl.cli import main
from unlearn_pl.report import compare_results, evaluation_class
from unlearn_pl.report.resampling import draw_questions
from unlearn_pl.results import write_results

PACKAGE = Path(callbacks.__file__).parents[1]
OWN = '''
"""A user's own benchmark: medians, one of them in comparison with a retain model."""

import statistics

from unlearn_pl.callbacks import EvaluationCallback


class CityEvaluation(EvaluationCallback):
    benchmark = "cities"
    against_retain = frozenset({"distance"})

    def __init__(self, output=None, retain_results=None, scale=1.0):
        super().__init__(output)

    def make_metrics(self, loader):
        return {}

    @classmethod
    def metrics_of(cls, per_example, retain=None, arguments={}):
        scale = arguments.get("scale", 1.0)
        median = scale * statistics.median(per_example["cities"]["size"].values())
        metrics = {"median": median, "distance": median}
        if retain is not None:
            metrics["distance"] -= scale * statistics.median(retain["cities"]["size"].values())
        return metrics
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, from which modules can be imported, as by ``unlearn-pl``.

    The user's own package stays imported: as long as its class lives, parsers look for it where it was defined.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if not name.startswith("own_package"):
            del sys.modules[name]


def sizes(seed: int) -> dict[int, float]:
    return {3 * i: value for i, value in enumerate(np.random.default_rng(seed).gamma(2, size=15).tolist())}


def city_run(seed: int, retain: str | None = None):
    median = 2 * statistics.median(sizes(seed).values())
    distance = median - (2 * statistics.median(sizes(9).values()) if retain else 0)
    record = evaluation(retain, "own_package.cities.CityEvaluation", scale=2.0)
    return replace(
        results(1),
        benchmark="cities",
        metrics={"median": median, "distance": distance},
        per_example={"cities": {"size": sizes(seed)}},
        config={"model": {}, "data": {}, "evaluation": record},
        questions={"cities": {i: f"city {i}" for i in sizes(seed)}},
    )


def test_a_benchmark_of_a_users_own_has_intervals(folder, capsys):
    (folder / "own_package").mkdir()
    (folder / "own_package" / "cities.py").write_text(OWN)
    write_results("retain/results.json", city_run(9))
    for name, seed in (("one", 1), ("two", 2)):
        write_results(f"{name}/results.json", city_run(seed, "retain/results.json"))
    main(["compare", "one", "two", "--resamples", "20"])
    captured = capsys.readouterr()
    rows = {line.split()[0]: line for line in captured.out.splitlines()[3:]}
    assert {name: row.count("[") for name, row in rows.items()} == {"median": 3, "distance": 3}
    assert captured.err == ""
    runs = {"one": city_run(1, "there"), "two": city_run(2, "there")}
    retain = city_run(9).per_example
    found = compare_results(runs, {"one": retain, "two": retain}, resamples=40, seed=3)
    draws = [draw_questions({"cities": sorted(sizes(1))}, 3, number)["cities"] for number in range(40)]
    one, two, theirs = (
        np.array([2 * np.median([sizes(seed)[i] for i in draw]) for draw in draws]) for seed in (1, 2, 9)
    )
    expected = np.quantile(one - theirs, [0.025, 0.975])
    assert found.values["distance"]["one"].interval == pytest.approx(expected, rel=1e-10)
    expected = np.quantile(two - one, [0.025, 0.975])
    assert found.differences["median"]["two"].interval == pytest.approx(expected, rel=1e-10)


def test_a_number_of_ones_own_benchmark_that_was_edited_is_an_error(folder):
    (folder / "own_package").mkdir()
    (folder / "own_package" / "cities.py").write_text(OWN)
    changed = replace(city_run(2), metrics={"median": 3.0, "distance": 3.0})
    with pytest.raises(ValueError, match=r"median of b is 3, but .* follows from its scores per example: a file was"):
        compare_results({"a": city_run(1), "b": changed}, resamples=5)


def test_metrics_that_a_class_does_not_reproduce_are_named(folder):
    (folder / "own_package").mkdir()
    (folder / "own_package" / "cities.py").write_text(OWN)
    run = replace(city_run(1), metrics={**city_run(1).metrics, "median_low": 0.0, "fluency": 1.0})
    found = compare_results({"a": run, "b": run}, resamples=5)
    assert found.values["fluency"]["a"].interval is None
    assert found.notes == [
        "No interval for fluency of a, b: CityEvaluation.metrics_of does not reproduce these values from the scores "
        "per example."
    ]


def test_a_class_that_is_not_there_is_named_by_compare(folder, capsys):
    table = {"bio": {"accuracy": {0: 1.0, 4: 0.0, 5: 1.0}}}
    run = made_by("not_there.evaluation.Mine", results(1))
    run = replace(run, benchmark="mine", metrics={"bio_accuracy": 2 / 3, "median": 1.0}, per_example=table)
    for name in ("one", "two"):
        write_results(f"{name}/results.json", run)
    main(["compare", "one", "two", "--resamples", "20"])
    captured = capsys.readouterr()
    assert next(line for line in captured.out.splitlines() if line.startswith("bio_accuracy")).count("[") == 3
    assert (
        captured.err.count("note: The class 'not_there.evaluation.Mine' was not found: 'not_there.evaluation' is") == 1
    )
    assert "Only metrics that are the mean of a score have intervals." in captured.err
    assert "note: No interval for median of one, two" in captured.err


def test_a_lost_subclass_of_a_benchmark_is_replaced_by_the_benchmark(folder):
    run = made_by("not_there.Mine", results(1, None))
    changed = replace(run, metrics={**run.metrics, "forget_rouge": 0.5})  # it may define it otherwise
    found = compare_results({"a": run, "b": changed}, resamples=5)
    assert found.values["model_utility"]["b"].interval is not None
    assert found.values["forget_rouge"]["b"].interval is None
    assert "Intervals are computed by TOFUEvaluation, which has the same benchmark." in found.notes[0]


@pytest.mark.parametrize(
    ("path", "benchmark", "expected"),
    [
        ("unlearn_pl.callbacks.tofu.TOFUEvaluation", "tofu", TOFUEvaluation),
        ("unlearn_pl.callbacks.TOFUEvaluation", "tofu", TOFUEvaluation),
        ("unlearn_pl.callbacks.benchmarks.muse.MUSEEvaluation", "muse", MUSEEvaluation),
        (None, "wmdp", WMDPEvaluation),
        (None, "of no callback", EvaluationCallback),
    ],
)
def test_old_files_and_moved_classes(path, benchmark, expected):
    run = made_by(path, replace(results(1), benchmark=benchmark))
    assert evaluation_class(run) == (expected, None)


def test_an_old_file_has_intervals():
    old, new = made_by(None, results(1, None)), made_by("unlearn_pl.callbacks.old.TOFUEvaluation", results(2, None))
    found = compare_results({"old": old, "new": new}, resamples=5)
    assert all(found.differences[metric]["new"].interval for metric in old.metrics)
    assert found.notes == []


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("os.system", "'system' in os is no subclass of EvaluationCallback"),
        ("subprocess.Popen", "'Popen' in subprocess is no subclass"),
        ("builtins.exec", "'exec' in builtins is no subclass"),
        ("unlearn_pl.callbacks.record", "'record' in unlearn_pl.callbacks is no subclass"),
        ("unlearn_pl.callbacks.SavePretrained", "'SavePretrained' in unlearn_pl.callbacks is no subclass"),
        ("unlearn_pl.__main__.main", "'main' in unlearn_pl.callbacks is no subclass"),
        ("__hello__.main", "'__hello__' is neither imported nor a module of the working directory"),
        ("__main__.own.Mine", "'__main__.own' is neither imported nor a module"),
        ("elsewhere.Mine", "'elsewhere' is neither imported nor a module of the working directory"),
        ("elsewhere.deeper.Mine", "'elsewhere.deeper' is neither imported nor a module"),
        ("..elsewhere.Mine", "'..elsewhere' is neither imported nor a module"),
        ("Mine", "'' is neither imported nor a module"),
        ("", "'' is neither imported nor a module"),
        ("here.Mine", "'Mine' in here is no subclass"),
        ("broken.Mine", "the import of 'broken' failed with ZeroDivisionError"),
        ("leaving.Mine", "the import of 'leaving' failed with SystemExit"),
        ("here.absent.Mine", "the import of 'here.absent' failed with ModuleNotFoundError"),
    ],
)
def test_paths_of_anything_else_are_not_followed(folder, monkeypatch, path, reason):
    (folder / "elsewhere").mkdir()
    monkeypatch.syspath_prepend(str(folder / "elsewhere"))
    (folder / "elsewhere" / "elsewhere.py").write_text("raise AssertionError('it was imported')")
    (folder / "here.py").write_text("def Mine(*args):\n    raise AssertionError('it was called')")
    (folder / "broken.py").write_text("1 / 0")
    (folder / "leaving.py").write_text("raise SystemExit(0)")
    found = evaluation_class(replace(made_by(path, results(1)), benchmark="mine"))
    if path:
        assert found.cls is EvaluationCallback
        assert found.problem.startswith(f"The class {path!r} was not found: {reason}")
    else:
        assert found == (EvaluationCallback, None)  # nothing is recorded


def test_the_retain_model_of_every_kind_of_file_is_read(folder, capsys):
    """An evaluation reads the file of its retain model itself, also one that other code has written."""
    by_index = {str(i): {"score": ratio} for i, ratio in ratios(9).items()}
    (folder / "TOFU_EVAL.json").write_text(json.dumps({"forget_truth_ratio": {"value_by_index": by_index}}))
    for name, seed in (("one", 1), ("two", 2)):
        run = results(seed)
        record = evaluation("TOFU_EVAL.json")
        write_results(f"{name}/results.json", replace(run, config={**run.config, "evaluation": record}))
    main(["compare", "one", "two", "--resamples", "20"])
    captured = capsys.readouterr()
    quality = next(line for line in captured.out.splitlines() if line.startswith("forget_quality"))
    assert quality.count("[") == 3
    assert captured.err == ""


def test_no_benchmark_is_named_where_results_are_compared():
    names = {cls.benchmark for cls in vars(callbacks).values() if hasattr(cls, "benchmark")}
    assert len(names) > 5
    files = [path for folder in ("report", "results") for path in (PACKAGE / folder).rglob("*.py")]
    for path in [*files, PACKAGE / "commands" / "compare.py"]:
        nodes = ast.walk(ast.parse(path.read_text()))
        assert not [n.lineno for n in nodes if isinstance(n, ast.Constant) and n.value in names], path
