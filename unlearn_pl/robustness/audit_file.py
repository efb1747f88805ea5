"""``audit.json``: the verdict of an audit, and what it rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from unlearn_pl.results import read_json, software_versions
from unlearn_pl.results.json_file import write_sealed_json
from unlearn_pl.results.results import utc_now
from unlearn_pl.robustness.time_budget import NotRun
from unlearn_pl.robustness.verdict import Verdict

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class AuditReport:
    """Everything that ``audit.json`` holds.

    Attributes:
        models: role (``audited``, ``retain``, ``original``) to folder.
        fingerprints: role to :func:`~unlearn_pl.results.weights_fingerprint`.
        evaluation: benchmark to its metrics, of the audited model.
        verdict: leaks, and the strongest bounded ones.
        not_run: attacks that the time did not suffice for.
        seconds: time that the attacks took, in all invocations together.
        budget: seconds that the last invocation was given; None for any time.
        seed: random seed of the attacks and the intervals.
        versions: package to version.
        created: time of the report, ISO 8601 in UTC.
    """

    models: Mapping[str, str]
    fingerprints: Mapping[str, str]
    evaluation: Mapping[str, Mapping[str, float]]
    verdict: Verdict
    not_run: Sequence[NotRun]
    seconds: float
    budget: float | None
    seed: int
    versions: Mapping[str, str] = field(default_factory=software_versions)
    created: str = field(default_factory=utc_now)


def write_report(path: str | Path, report: AuditReport) -> None:
    """Write ``report`` atomically, with a digest that is compared when it is read."""
    write_sealed_json(path, {"schema_version": SCHEMA_VERSION, **asdict(report)})


def read_report(path: str | Path) -> dict[str, object]:
    """The content of an ``audit.json``, as plain data.

    Raises:
        ValueError: if it is not a complete file of the supported schema version, or was changed since it was written,
            of which the digest that it was written with tells.
    """
    content = read_json(path)
    if content.get("schema_version") != SCHEMA_VERSION or not isinstance(content.get("verdict"), dict):
        raise ValueError(f"{str(path)!r} is not an audit.json of schema version {SCHEMA_VERSION}.")
    names = {"schema_version", *(item.name for item in fields(AuditReport))}
    if wrong := content.keys() ^ names:
        raise ValueError(
            f"{str(path)!r} has or lacks the keys {sorted(wrong)}; an audit.json has exactly {sorted(names)}."
        )
    return read_json(path, sealed=True)  # at last, since a file of another kind has no digest either
