"""The class of the callback that computed a results file, found by the class path that the file records."""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from unlearn_pl import callbacks
from unlearn_pl.callbacks import EvaluationCallback
from unlearn_pl.results import PerExample, Results, evaluation_arguments, evaluation_class_path


class FoundClass(NamedTuple):
    """A class that computes the metrics of a results file.

    Attributes:
        cls: the recorded class, or the best substitute.
        problem: why it is a substitute, as a sentence; None for the recorded class.
    """

    cls: type[EvaluationCallback]
    problem: str | None = None

    def metrics(self, results: Results, per_example: PerExample, retain: PerExample | None) -> dict[str, float]:
        """The metrics of ``results``, computed from other scores than its own.

        Args:
            results: of one evaluation by this class; its arguments are read.
            per_example: split to score to index to value.
            retain: the same of the retain model; None if there is none.
        """
        return self.cls.metrics_of(per_example, retain, evaluation_arguments(results))


def evaluation_class(results: Results) -> FoundClass:
    """The class whose :meth:`~unlearn_pl.callbacks.EvaluationCallback.metrics_of` gives the metrics of ``results``.

    A results file is untrusted input. Classes of this library are looked up among the exports of
    :mod:`unlearn_pl.callbacks`, so paths from before a move of files work. Other modules are imported only from the
    working directory, as ``unlearn-pl`` imports the classes that YAML files name; modules from elsewhere must be
    imported already. The class must be a subclass of EvaluationCallback.

    Args:
        results: of one evaluation.

    Returns:
        The class. If its path is not recorded, as in old files, the callback of this library with the same benchmark;
        likewise, with a sentence about the problem, if the class is not found; and if there is no such callback,
        EvaluationCallback itself, whose metrics are the means of the scores.
    """
    path = evaluation_class_path(results)
    if path is None:
        return FoundClass(_same_benchmark(results.benchmark))
    try:
        return FoundClass(_find(path))
    except LookupError as error:
        substitute = _same_benchmark(results.benchmark)
        return FoundClass(substitute, f"The class {path!r} was not found: {error.args[0]}. {_consequence(substitute)}")


def _find(path: str) -> type[EvaluationCallback]:
    """The class at ``path``; raises LookupError with the reason if there is none."""
    module_name, _, name = path.rpartition(".")
    if path.startswith("unlearn_pl."):
        module, module_name = callbacks, callbacks.__name__
    elif module_name in sys.modules:
        module = sys.modules[module_name]
    else:
        module = _import_from_working_directory(module_name)
    found = getattr(module, "__dict__", {}).get(name)  # not getattr(module, name), for which a module may run code
    if not isinstance(found, type) or not issubclass(found, EvaluationCallback):
        raise LookupError(f"{name!r} in {module_name} is no subclass of EvaluationCallback")
    return found


def _import_from_working_directory(name: str) -> ModuleType:
    if not _is_in_working_directory(name):
        raise LookupError(f"{name!r} is neither imported nor a module of the working directory")
    try:
        return import_module(name)
    except (Exception, SystemExit) as error:
        raise LookupError(f"the import of {name!r} failed with {type(error).__name__}: {error}") from error


def _is_in_working_directory(name: str) -> bool:
    """Whether the import of ``name`` would run files of the working directory; runs nothing itself."""
    if not all(part.isidentifier() for part in name.split(".")):
        return False
    try:
        spec = find_spec(name.partition(".")[0])
    except ValueError:  # of modules that were not made from a file, such as __main__
        return False
    if spec is None:
        return False
    places = spec.submodule_search_locations or ([spec.origin] if spec.has_location and spec.origin else [])
    return bool(places) and all(Path(place).resolve().parent == Path.cwd().resolve() for place in places)


def _same_benchmark(benchmark: str) -> type[EvaluationCallback]:
    exported = (vars(callbacks)[name] for name in callbacks.__all__)
    evaluations = (cls for cls in exported if issubclass(cls, EvaluationCallback))
    return next((cls for cls in evaluations if getattr(cls, "benchmark", None) == benchmark), EvaluationCallback)


def _consequence(substitute: type[EvaluationCallback]) -> str:
    if substitute is EvaluationCallback:
        return "Only metrics that are the mean of a score have intervals."
    return f"Intervals are computed by {substitute.__name__}, which has the same benchmark."
