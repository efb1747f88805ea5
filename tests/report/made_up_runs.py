"""Results of invented models on TOFU's splits, of unequal sizes."""

from dataclasses import replace

import numpy as np

from unlearn_pl.metrics import tofu_metrics
from unlearn_pl.metrics.tofu.scores import SPLITS
from unlearn_pl.results import Results

SIZES = dict(zip(SPLITS, (23, 17, 9, 12), strict=True))


def scores(seed: int) -> dict[str, dict[str, dict[int, float]]]:
    """Scores per example with gaps between the indices; wilder truth ratios for larger seeds."""
    random = np.random.default_rng(seed)
    return {
        split: {
            "probability": {3 * i: random.random() for i in range(size)},
            "truth_ratio": {3 * i: random.gamma(2) / (1 + seed) for i in range(size)},
            "rouge": {3 * i: random.random() for i in range(size)},
        }
        for split, size in SIZES.items()
    }


def results(seed: int, retain_seed: int | None = 9, **changes: object) -> Results:
    """A complete evaluation, with a forget quality unless ``retain_seed`` is None."""
    per_example = scores(seed)
    arguments: dict[str, object] = {
        "benchmark": "tofu",
        "metrics": tofu_metrics(per_example, None if retain_seed is None else ratios(retain_seed)),
        "per_example": per_example,
        "config": {
            "model": {"init_args": {}},
            "data": {},
            "evaluation": evaluation(None if retain_seed is None else "retain/results.json"),
        },
        "config_hash": "0" * 64,
        "weights_fingerprint": "f" * 64,
        "model": f"model {seed}",
        "questions": {s: {i: f"{s}{i}" for i in table["rouge"]} for s, table in per_example.items()},
    }
    return Results(**{**arguments, **changes})


TOFU = "unlearn_pl.callbacks.tofu.TOFUEvaluation"


def evaluation(retain_results: str | None, class_path: str = TOFU, **init_args: object) -> dict[str, object]:
    """The record of an evaluation."""
    return {"class_path": class_path, "init_args": {"retain_results": retain_results, **init_args}}


def made_by(class_path: str | None, run: Results) -> Results:
    """``run``, as computed by another class with the same arguments; None for a file that does not record it."""
    record = {"class_path": class_path} if class_path else {}
    return replace(run, config={**run.config, "evaluation": {**record, "init_args": evaluation(None)["init_args"]}})


def ratios(seed: int) -> dict[int, float]:
    """A model's truth ratios on the forget questions."""
    return scores(seed)["forget"]["truth_ratio"]
