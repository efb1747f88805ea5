"""Metrics recomputed on resampled questions, for bootstrap intervals."""

import hashlib
import math
from collections.abc import Mapping, Sequence

import torch

from unlearn_pl.report.evaluation_class import FoundClass
from unlearn_pl.results import PerExample, Results, evaluation_arguments

TOLERANCE = 1e-6
"""Relative and absolute. Versions of libraries differ in the last digits."""


def recomputed_metrics(name: str, results: Results, retain: PerExample | None, found: FoundClass) -> list[str]:
    """Names of the metrics of ``results`` that follow from its scores per example.

    Args:
        name: of the run, for the message.
        results: of one evaluation.
        retain: scores of the retain model that it was compared with; None if they are not known.
        found: class of the evaluation.

    Raises:
        ValueError: if a metric differs from what the class of the evaluation, by a ``metrics_of`` of its own, computes
            from the scores.
    """
    known = retain is not None or evaluation_arguments(results).get("retain_results") is None
    computed = {
        metric: value
        for metric, value in found.metrics(results, results.per_example, retain).items()
        if metric in results.metrics and (known or metric not in found.cls.against_retain)
    }
    differing = [metric for metric, value in computed.items() if not _agree(value, results.metrics[metric])]
    # A subclass that inherits metrics_of may define a metric otherwise in summarize; others may not.
    if differing and found.problem is None and "metrics_of" in vars(found.cls):
        metric = differing[0]
        source = " and those of the retain model" if metric in found.cls.against_retain else ""
        raise ValueError(
            f"{metric} of {name} is {results.metrics[metric]:.6g}, but {computed[metric]:.6g} follows from its scores "
            f"per example{source}: a file was changed, or another version computed it. Evaluate {name} again."
        )
    # Scores of the retain model on other questions cannot be drawn with those of the run.
    drawn = found.metrics(results, results.per_example, paired(results, retain))
    return [m for m in computed if m in drawn and _agree(drawn[m], results.metrics[m])]


def paired(results: Results, retain: PerExample | None) -> PerExample | None:
    """The scores of ``retain`` on the same examples as in ``results``, which can be drawn together; None for None."""
    if retain is None:
        return None
    ours = {split: {score: table.keys() for score, table in t.items()} for split, t in results.per_example.items()}
    return {
        split: {score: values for score, values in table.items() if values.keys() == ours.get(split, {}).get(score)}
        for split, table in retain.items()
        if split in ours
    }


def draw_questions(questions: Mapping[str, Sequence[int]], seed: int, number: int) -> dict[str, list[int]]:
    """A sample of the questions of every split, of the same size, with replacement.

    The sample of a split depends only on the seed, the name of the split and the number, not on the other splits.

    Args:
        questions: split to the indices of its examples.
        seed: of all draws.
        number: of this draw.

    Returns:
        Split to indices.
    """
    drawn = {}
    for split, indices in questions.items():
        digest = hashlib.sha256(f"{seed}/{split}/{number}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        positions = torch.randint(len(indices), (len(indices),), generator=generator).tolist()
        drawn[split] = [indices[position] for position in positions]
    return drawn


def redrawn_metrics(
    results: Results, retain: PerExample | None, found: FoundClass, draw: Mapping[str, Sequence[int]]
) -> dict[str, float]:
    """The metrics of ``results`` on the questions of ``draw``, each as often as it was drawn.

    Args:
        results: of one evaluation.
        retain: scores of the retain model, from :func:`paired`; the same questions are drawn of them.
        found: class of the evaluation.
        draw: split to indices of examples.
    """
    return found.metrics(results, _drawn(results.per_example, draw), retain and _drawn(retain, draw))


def redrawn(values: Mapping[int, float], indices: Sequence[int]) -> dict[int, float]:
    """The values of ``indices`` in a new numbering; without the indices that are not in ``values``."""
    return {number: values[index] for number, index in enumerate(indices) if index in values}


def _drawn(per_example: PerExample, draw: Mapping[str, Sequence[int]]) -> PerExample:
    return {
        split: {score: redrawn(values, draw[split]) for score, values in table.items() if split in draw}
        for split, table in per_example.items()
    }


def _agree(computed: float, stored: float) -> bool:
    if math.isnan(computed) and math.isnan(stored):
        return True
    if 0 < computed < TOLERANCE and 0 < stored < TOLERANCE:  # such as p-values, which differ by their logarithm
        computed, stored = math.log10(computed), math.log10(stored)
    return math.isclose(computed, stored, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
