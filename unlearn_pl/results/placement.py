"""File names of results: an evaluation does not replace the results of another model."""

from pathlib import Path

from unlearn_pl.results.results import Results, evaluation_arguments, evaluation_class_path, read_results

DIGITS = 8
"""Digits of a fingerprint in the name of a file."""


def free_path(path: str | Path, results: Results) -> Path:
    """Where to write ``results`` so that nothing is lost: ``path``, or a name beside it with the weights' fingerprint.

    Results of the same weights and the same kind of evaluation are replaced by an evaluation of the same questions or
    of more. Anything else stays.

    Args:
        path: the preferred file.
        results: what will be written.
    """
    path = Path(path)
    weights, config = results.weights_fingerprint[:DIGITS], results.config_hash[:DIGITS]
    beside = [path.with_name(f"{path.stem}_{name}{path.suffix}") for name in (weights, f"{weights}_{config}")]
    return next((file for file in (path, *beside) if not file.exists() or _replaces(results, file)), beside[-1])


def set_aside(path: str | Path) -> Path | None:
    """Rename results that no longer describe the weights beside them, after their own weights.

    Args:
        path: results of weights that were trained further.

    Returns:
        The new name; None if there is no such file, or it holds no results.
    """
    path = Path(path)
    try:
        old = read_results(path)
    except ValueError:
        return None
    moved = free_path(path.with_name(f"{path.stem}_{old.weights_fingerprint[:DIGITS]}{path.suffix}"), old)
    path.replace(moved)
    return moved


def _replaces(results: Results, path: Path) -> bool:
    """Whether ``results`` are of the same weights and evaluation as those in ``path``, and of all their questions."""
    try:
        old = read_results(path)
    except ValueError:  # not a file of ours
        return False
    if old.config_hash == results.config_hash and old.weights_fingerprint == results.weights_fingerprint:
        return True
    same = [
        (each.weights_fingerprint, each.benchmark, evaluation_class_path(each), _arguments(each))
        for each in (old, results)
    ]
    covered = all(
        results.questions.get(split, {}).get(index) == question
        for split, table in old.questions.items()
        for index, question in table.items()
    )
    return same[0] == same[1] and bool(old.questions) and covered


def _arguments(results: Results) -> dict[str, object]:
    """Arguments of the evaluation, without the two that change no score."""
    return {n: value for n, value in evaluation_arguments(results).items() if n not in ("output", "retain_results")}
