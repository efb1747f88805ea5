"""Comparability of results files: whether their numbers mean the same."""

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

from unlearn_pl.results.results import Results, evaluation_class_path

DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "model": {"max_new_tokens": 200},
    "data": {"template": None, "truncate": False},
}
"""Arguments of modules and data that change numbers, with the values that they have in configurations without them."""


def check_comparable(
    runs: Mapping[str, Results],
    defaults: Mapping[str, object] = MappingProxyType({}),
    neutral: Collection[str] = ("output", "retain_results"),
) -> list[str]:
    """Check that all ``runs`` measure the same thing on the same questions in the same way.

    Compared are the benchmark, the version of the library, the layout, generation and scoring of answers, and, for
    every split that several runs have, its questions and the examples of every score. Models, methods, seeds and batch
    sizes may differ, and so may the splits and scores of a run.

    Args:
        runs: name to results.
        defaults: arguments of the evaluation that change numbers, with the values that they have in configurations
            without them.
        neutral: arguments of the evaluation that do not change numbers.

    Returns:
        What could not be checked, or may matter, as sentences.

    Raises:
        ValueError: naming two runs and the difference between them.
    """
    if len(runs) < 2:
        raise ValueError(f"A comparison needs at least two runs; got {', '.join(runs) or 'none'}.")
    _check_same("benchmark", {name: results.benchmark for name, results in runs.items()})
    versions = {name: _version(name, results) for name, results in runs.items()}
    _check_same("major version of unlearn_pl", {name: version.split(".")[0] for name, version in versions.items()})
    for argument, values in _evaluation_arguments(runs, defaults, neutral):
        _check_same(argument, values)
    for split in sorted({split for results in runs.values() for split in results.questions}):
        _check_questions(split, {n: r.questions[split] for n, r in runs.items() if split in r.questions})
    for split, score in sorted({(s, score) for r in runs.values() for s, t in r.per_example.items() for score in t}):
        tables = {name: results.per_example.get(split, {}).get(score) for name, results in runs.items()}
        _check_indices(f"examples of {split}/{score}", {name: table for name, table in tables.items() if table})
    return _notes(runs, versions)


def _notes(runs: Mapping[str, Results], versions: Mapping[str, str]) -> list[str]:
    notes = []
    if len(set(versions.values())) > 1:
        notes.append(f"The versions of unlearn_pl differ: {_listed(versions)}.")
    if unknown := [name for name, results in runs.items() if not results.questions]:
        notes.append(
            f"Whether the questions are the same was not checked for {', '.join(unknown)}, without hashes of questions."
        )
    return notes


def _version(name: str, results: Results) -> str:
    if not isinstance(results.versions, Mapping) or "unlearn_pl" not in results.versions:
        raise ValueError(f"The results of {name} do not record which version of unlearn_pl computed them.")
    return str(results.versions["unlearn_pl"])


def _evaluation_arguments(
    runs: Mapping[str, Results], evaluation_defaults: Mapping[str, object], neutral: Collection[str]
) -> Iterator[tuple[str, dict[str, object]]]:
    """Name of an argument to its value by run, for all arguments that change numbers."""
    evaluations = {name: _arguments(_section(name, results, "evaluation")) for name, results in runs.items()}
    paths = {name: evaluation_class_path(results) for name, results in runs.items()}
    yield "class of the evaluation", {name: path for name, path in paths.items() if path is not None}
    data = {name: _arguments(_section(name, results, "data")) for name, results in runs.items()}
    cut = {name: found.get("max_length") if found.get("truncate") else None for name, found in data.items()}
    yield "data.max_length to which questions are cut", cut
    for section, defaults in DEFAULTS.items():
        given = {name: _arguments(_section(name, results, section)) for name, results in runs.items()}
        for argument in sorted(defaults):
            yield (
                f"{section}.{argument}",
                {name: found.get(argument, defaults[argument]) for name, found in given.items()},
            )
    for argument in sorted({argument for found in evaluations.values() for argument in found}.difference(neutral)):
        default = evaluation_defaults.get(argument, "the default")
        yield f"evaluation.{argument}", {name: found.get(argument, default) for name, found in evaluations.items()}


def _section(name: str, results: Results, section: str) -> Mapping[str, object]:
    found = results.config.get(section) if isinstance(results.config, Mapping) else None
    if not isinstance(found, Mapping):
        raise ValueError(f"The results of {name} do not record how they were made: no {section!r} in their config.")
    return found


def _arguments(section: Mapping[str, object]) -> Mapping[str, object]:
    arguments = section.get("init_args", section)
    return arguments if isinstance(arguments, Mapping) else {}


def _check_same(what: str, values: Mapping[str, object]) -> None:
    first = next(iter(values), "")
    for name, value in values.items():
        if value != (expected := values[first]):
            raise ValueError(
                f"{first} and {name} cannot be compared: the {what} is {expected!r} in {first} and {value!r} in {name}."
            )


def _check_questions(split: str, tables: Mapping[str, Mapping[int, str]]) -> None:
    _check_indices(f"questions of the split {split!r}", tables)
    (first, expected), *others = tables.items()
    for name, table in others:
        if changed := [index for index in table if table[index] != expected[index]]:
            raise ValueError(
                f"{first} and {name} cannot be compared: {len(changed)} of the {len(table)} questions of the split "
                f"{split!r} differ, such as number {changed[0]}."
            )


def _check_indices(what: str, tables: Mapping[str, Mapping[int, object]]) -> None:
    first = next(iter(tables), "")
    for name, table in tables.items():
        if table.keys() != tables[first].keys():
            raise ValueError(
                f"{first} and {name} cannot be compared: there are {len(tables[first])} {what} in {first} and "
                f"{len(table)} in {name}, of which {len(table.keys() & tables[first].keys())} are in both."
            )


def _listed(values: Mapping[str, str]) -> str:
    return ", ".join(f"{value} in {name}" for name, value in values.items())
