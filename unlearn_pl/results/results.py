"""Schema of ``results.json``."""

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import unlearn_pl
from unlearn_pl.results.json_file import read_json, write_sealed_json

SCHEMA_VERSION = 1
_TEXTS = ("benchmark", "config_hash", "weights_fingerprint")
"""Fields that others build names of files and messages from."""

PerExample = Mapping[str, Mapping[str, Mapping[int, float]]]
"""Split to metric to index of the example in its split to value."""


def software_versions() -> dict[str, str]:
    """Versions of Python and of the packages on which the numbers depend."""
    others = {package: version(package) for package in ("torch", "lightning", "transformers")}
    return {"python": platform.python_version(), "unlearn_pl": unlearn_pl.__version__, **others}


def utc_now() -> str:
    """The current time, ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Results:
    """One evaluation of one model on one benchmark.

    Attributes:
        benchmark: name of the benchmark, such as ``tofu``.
        metrics: name to value.
        per_example: split to metric to index of the example in its split to value.
        config: arguments of ``model``, ``data`` and ``evaluation`` as plain data; ``class_path`` of the evaluation.
        config_hash: :func:`~unlearn_pl.results.config_hash` of ``config``.
        weights_fingerprint: :func:`~unlearn_pl.results.weights_fingerprint` of the weights that were evaluated.
        model: name of the model.
        questions: split to index of the example to a hash of its question and answer, so that results on other data
            are not compared; empty if the data module is not one of this library.
        seed: the global seed, if one was set.
        versions: package to version.
        created: time of the evaluation, ISO 8601 in UTC.
        schema_version: version of this layout.
    """

    benchmark: str
    metrics: Mapping[str, float]
    per_example: PerExample
    config: Mapping[str, object]
    config_hash: str
    weights_fingerprint: str
    model: str
    questions: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=software_versions)
    created: str = field(default_factory=utc_now)
    schema_version: int = SCHEMA_VERSION


def write_results(path: str | Path, results: Results) -> None:
    """Write ``results`` to ``path``, completely or not at all, with a digest that :func:`read_results` compares."""
    write_sealed_json(path, asdict(results))


def read_results(path: str | Path) -> Results:
    """The results in the file ``path``.

    Raises:
        ValueError: if it is not a complete results file of schema version ``SCHEMA_VERSION``, or was changed since it
            was written.
    """
    content = read_json(path)
    if content.get("schema_version") != SCHEMA_VERSION:
        given = content.get("schema_version", "no schema version")
        raise ValueError(f"{str(path)!r} is not a results.json of schema version {SCHEMA_VERSION}; it has {given}.")
    names = {item.name for item in fields(Results)}
    if content.keys() != names:
        missing, unknown = sorted(names - content.keys()), sorted(content.keys() - names)
        raise ValueError(f"{str(path)!r} is not a complete results.json: missing {missing}, unknown {unknown}.")
    for name in _TEXTS:
        if not isinstance(content[name], str):
            raise ValueError(f"{str(path)!r} has {content[name]!r} as its {name!r}; accepted is text.")
    try:
        return _parse(content)
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{str(path)!r} holds something that is not a number among its metrics: {error}") from error


def evaluation_class_path(results: Results) -> str | None:
    """Import path of the class of the callback that computed ``results``; None if it is not recorded.

    For classes of this library, it is the path of their export, whatever file they were in.
    """
    evaluation = results.config.get("evaluation") if isinstance(results.config, Mapping) else None
    path = evaluation.get("class_path") if isinstance(evaluation, Mapping) else None
    if not isinstance(path, str) or not path.startswith("unlearn_pl."):
        return path if isinstance(path, str) else None
    parts = path.split(".")
    return ".".join([*parts[:2], *parts[2:][-1:]])


def evaluation_arguments(results: Results) -> Mapping[str, object]:
    """The recorded arguments of the callback that computed ``results``; those at their defaults may be absent."""
    evaluation = results.config.get("evaluation") if isinstance(results.config, Mapping) else None
    arguments = evaluation.get("init_args") if isinstance(evaluation, Mapping) else None
    return arguments if isinstance(arguments, Mapping) else {}


def _parse(content: dict[str, Any]) -> Results:
    metrics = {name: float(value) for name, value in content["metrics"].items()}
    per_example = {
        split: {
            metric: {int(index): float(value) for index, value in values.items()} for metric, values in table.items()
        }
        for split, table in content["per_example"].items()
    }
    questions = {split: {int(i): str(h) for i, h in table.items()} for split, table in content["questions"].items()}
    return Results(**{**content, "metrics": metrics, "per_example": per_example, "questions": questions})
