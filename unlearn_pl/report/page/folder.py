"""The folder of a run: what is read of it for a report, and what is missing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unlearn_pl.printable import printable
from unlearn_pl.report.history import Series, read_history
from unlearn_pl.results import Results, evaluation_arguments, read_results
from unlearn_pl.results.json_file import parse_json, read_json
from unlearn_pl.results.yaml_file import read_yaml
from unlearn_pl.robustness import Outcome
from unlearn_pl.robustness.audit_file import read_report
from unlearn_pl.robustness.outcome import read_outcomes

LOSS = "train/loss/"


@dataclass(frozen=True)
class Prediction:
    """One line of a ``predictions.jsonl``.

    Attributes:
        question: what was asked; empty if the file does not say.
        answer: the correct answer.
        prediction: the generated answer.
    """

    question: str
    answer: str
    prediction: str


@dataclass(frozen=True)
class RunFolder:
    """One run, as far as it has left files.

    Attributes:
        name: short name.
        path: its folder.
        results: of its evaluation.
        history: logged key to its values over the optimizer steps; empty without a log of training.
        predictions: split and index to the generated answer.
        settings: arguments of the module that was trained; empty if they are not recorded.
        cost: seconds, steps and the like of training.
        attacks: outcomes of attacks on its weights.
        audits: contents of ``audit.json`` files about its weights.
        pictures: PNG files beside the results.
        missing: section of a report to what is not there for it, as a sentence.
        file: the results; of several evaluations, each has its own file.
    """

    name: str
    path: Path
    results: Results
    history: Mapping[str, Series] = field(default_factory=dict)
    predictions: Mapping[tuple[str, int], Prediction] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    cost: Mapping[str, object] = field(default_factory=dict)
    attacks: Sequence[Outcome] = ()
    audits: Sequence[Mapping[str, object]] = ()
    pictures: Sequence[Path] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    file: Path = Path("results.json")

    @property
    def retain_results(self) -> str | None:
        """The recorded path of the evaluation of the retain model."""
        found = evaluation_arguments(self.results).get("retain_results")
        return found if isinstance(found, str) else None


def results_file(path: str | Path) -> Path:
    """The ``results.json`` that ``path`` is or holds.

    Raises:
        ValueError: if there is none, naming what the folder has instead.
    """
    path = Path(path)
    file = path / "results.json" if path.is_dir() else path
    if file.is_file():
        return file
    if not path.is_dir():
        raise ValueError(f"There is no file or folder {str(path)!r}. Accepted: folders of runs with a results.json.")
    inside = sorted(child.name for child in path.iterdir() if child.is_dir() and any(child.glob("results*.json")))
    hint = f" Its folders {', '.join(inside[:6])} have one." if inside else ""
    raise ValueError(f"The folder {str(path)!r} has no results.json.{hint} {_how_to_get_results(path)}")


def _how_to_get_results(folder: Path) -> str:
    """Which files to give instead, or the command that writes them."""
    if several := sorted(str(file) for file in folder.glob("results_*.json")):
        return f"It has a file for each of several evaluations; give one of them: {', '.join(several)}."
    config = folder / "config_fit.yaml"
    command = f"unlearn-pl test -c {config} --ckpt_path last" if config.is_file() else "unlearn-pl test"
    return f"`{command}` writes one: evaluate the run first."


def read_run(path: str | Path, name: str | None = None, others: Sequence[str | Path] = ()) -> RunFolder:
    """Read the folder of a run.

    Args:
        path: the folder, or its ``results.json``.
        name: short name; by default that of the folder.
        others: folders and files with attacks or audits, besides those in the folder and in its folders.

    Raises:
        ValueError: if there are no results, or a file is there and cannot be read.
    """
    file = results_file(path)
    folder, results = file.parent, _results(file)
    history, predictions = _history(folder), _predictions(folder / "predictions.jsonl")
    attacks, audits = _attacks(folder, results.weights_fingerprint, others)
    missing = {}
    if not history:
        missing["training"] = (
            f"No log of training ({LOSS}... in logs/*/metrics.csv), so no curves: unlearn-pl fit writes it."
        )
    if not predictions:
        missing["questions"] = "No predictions.jsonl, so no texts of questions: unlearn-pl predict writes it."
    return RunFolder(
        name or folder.resolve().name,
        folder,
        results,
        history,
        predictions,
        _settings(folder),
        read_json(folder / "cost.json") if (folder / "cost.json").is_file() else {},
        attacks,
        audits,
        sorted(folder.glob("*.png")),
        missing,
        file,
    )


def _results(file: Path) -> Results:
    try:
        return read_results(file)
    except ValueError as error:
        inside = sorted(child.parent.name for child in file.parent.glob("*/results.json"))
        hint = f" Its folders {', '.join(inside[:6])} have results of their own." if inside else ""
        raise ValueError(f"{error}{hint}") from error


def _history(folder: Path) -> dict[str, Series]:
    """The newest log of training in ``logs``; where it resumes an older one, with the steps before it."""
    found: dict[str, Series] = {}
    for file in _logs(folder):
        history = read_history(file)
        first = min((series[0][0] for key, series in history.items() if key.startswith(LOSS) and series), default=None)
        if first is None:
            continue
        before = {key: [point for point in series if point[0] < first] for key, series in found.items()}
        keys = dict.fromkeys([*before, *history])
        found = {key: [*before.get(key, []), *history.get(key, [])] for key in keys}
    return {key: series for key, series in found.items() if series}


def _logs(folder: Path) -> list[Path]:
    files = [*folder.glob("logs/metrics.csv"), *folder.glob("logs/*/metrics.csv"), *folder.glob("metrics.csv")]
    return sorted(files, key=lambda file: (file.stat().st_mtime, str(file)))


def _predictions(file: Path) -> dict[tuple[str, int], Prediction]:
    if not file.is_file():
        return {}
    found = {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{str(file)!r} is not a text file in UTF-8: {error}") from error
    for number, line in enumerate(lines):
        try:
            entry = parse_json(line)
            texts = [printable(str(entry.get(key, "")), keep="\n\t") for key in ("question", "answer", "prediction")]
            found[str(entry["split"]), int(entry["index"])] = Prediction(*texts)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise ValueError(
                f"Line {number + 1} of {str(file)!r} is not an answer of `unlearn-pl predict`: {error!r}. Accepted are "
                "JSON objects with split, index, answer and prediction."
            ) from error
    return found


def _settings(folder: Path) -> dict[str, object]:
    """Arguments of the trained module: of ``config_fit.yaml``, or of the newest ``hparams.yaml`` of a log."""
    config = _yaml(folder / "config_fit.yaml").get("model")
    if isinstance(config, Mapping):
        return {str(key): value for key, value in config.items()}
    logs = [file.with_name("hparams.yaml") for file in _logs(folder) if _is_of_training(file)]
    return {"init_args": _yaml(logs[-1])} if logs and logs[-1].is_file() else {}


def _is_of_training(log: Path) -> bool:
    with log.open(encoding="utf-8") as file:
        return LOSS in file.readline()


def _yaml(file: Path) -> dict[str, object]:
    return read_yaml(file) if file.is_file() else {}


def _attacks(
    folder: Path, fingerprint: str, others: Sequence[str | Path]
) -> tuple[list[Outcome], list[Mapping[str, object]]]:
    """Outcomes and audits of the weights with this fingerprint, of files in the folder, beside it, and ``others``."""
    places = [folder, *sorted(child for child in folder.iterdir() if child.is_dir()), *map(Path, others)]
    outcomes, audits = list[Outcome](), list[Mapping[str, object]]()
    for place in places:
        for file in (place / "attacks.json", place / "audit.json") if place.is_dir() else (place,):
            if file.name == "audit.json" and file.is_file():
                audit = read_report(file)
                fingerprints = audit.get("fingerprints")
                if isinstance(fingerprints, Mapping) and fingerprints.get("audited") == fingerprint:
                    audits.append(audit)
            elif file.is_file():
                read = read_outcomes(file)
                audited = {o.weights_fingerprint for o in read if o.role == "audited"}
                outcomes += read if fingerprint in audited else []
    unique = {json.dumps([o.role, o.attack, o.config_hash]): o for o in outcomes}
    return list(unique.values()), audits
