"""Outcomes of attacks and their file, ``attacks.json``."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from unlearn_pl.results import read_json, software_versions
from unlearn_pl.results.json_file import write_sealed_json
from unlearn_pl.results.results import utc_now
from unlearn_pl.robustness.curve import Curve

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Outcome:
    """One attack on one model.

    Attributes:
        attack: name of the attack.
        role: role of the model: ``audited``, ``retain`` or ``original``.
        model: folder of the model.
        before: leakage before the attack.
        after: leakage under attack, by the same names, and other numbers that the attack measures.
        curve: leakage against optimizer steps; empty for attacks that do not train.
        seed: random seed of the attack.
        config: the whole configuration, as plain data.
        config_hash: :func:`~unlearn_pl.results.config_hash` of ``config``.
        weights_fingerprint: :func:`~unlearn_pl.results.weights_fingerprint` of the model before the attack.
        seconds: wall-clock time of the attack.
        rows: leakage of every forget row under attack, by the names of ``after``.
        versions: package to version.
        created: time of the attack, ISO 8601 in UTC.
    """

    attack: str
    role: str
    model: str
    before: Mapping[str, float]
    after: Mapping[str, float]
    curve: Curve
    seed: int
    config: Mapping[str, object]
    config_hash: str
    weights_fingerprint: str
    seconds: float
    rows: Mapping[str, Sequence[float]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=software_versions)
    created: str = field(default_factory=utc_now)


def write_outcomes(path: str | Path, outcomes: Sequence[Outcome]) -> None:
    """Write ``outcomes`` atomically, with a digest that :func:`read_outcomes` compares."""
    content = {"schema_version": SCHEMA_VERSION, "outcomes": [asdict(outcome) for outcome in outcomes]}
    write_sealed_json(path, content)


def read_outcomes(path: str | Path) -> list[Outcome]:
    """The outcomes in a file.

    Raises:
        ValueError: if it is not a complete file of the supported schema version, or was changed since it was written.
    """
    content = read_json(path)
    if content.get("schema_version") != SCHEMA_VERSION or not isinstance(content.get("outcomes"), list):
        raise ValueError(f"{str(path)!r} is not an attacks.json of schema version {SCHEMA_VERSION}.")
    if unknown := content.keys() - {"schema_version", "outcomes"}:
        raise ValueError(f"{str(path)!r} has the keys {sorted(unknown)}, which an attacks.json does not have.")
    names = {item.name for item in fields(Outcome)}
    for item in content["outcomes"]:
        if not isinstance(item, dict):
            raise ValueError(f"{str(path)!r} has the outcome {str(item)[:60]!r}; an outcome is a JSON object.")
        if item.keys() | {"rows"} != names:  # earlier versions wrote no rows
            raise ValueError(f"{str(path)!r} has an outcome with {sorted(item)}; an attacks.json has {sorted(names)}.")
    try:
        return [Outcome(**{**item, **_numbers(item)}) for item in content["outcomes"]]
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{str(path)!r} holds something that is not a number in an outcome: {error}.") from error


def _numbers(item: dict[str, Any]) -> dict[str, object]:
    """The numbers of ``item``; infinity may be written as text."""
    return {
        "before": {name: float(value) for name, value in item["before"].items()},
        "after": {name: float(value) for name, value in item["after"].items()},
        "curve": {name: [float(value) for value in values] for name, values in item["curve"].items()},
        "rows": {name: [float(value) for value in values] for name, values in item.get("rows", {}).items()},
    }
