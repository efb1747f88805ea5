"""The page of all metrics: what each is, and which values are better, as the evaluations themselves say."""

import importlib
import re
from collections.abc import Iterator, Mapping

from unlearn_pl.callbacks import EvaluationCallback
from website.repository import ROOT

PATH = "docs/metrics.md"
BETTER = {"higher": "higher", "lower": "lower", "retain": "nearest to the retain model"}
SPLITS: Mapping[str, tuple[str, ...]] = {
    "tofu": ("forget", "retain", "real_authors", "world_facts", "holdout"),
    "qa": ("forget", "holdout", "retain", "other"),
    "wmdp": ("wmdp_bio", "mmlu"),
    "uds": ("forget",),
    "rwku": ("forget_level1", "neighbor_level1"),
    "lume": ("forget_task1", "retain_task1"),
    "preference": ("forget", "retain", "normal"),
    "classification": ("retain", "test"),
    "canvas": ("same_style", "same_object", "retain"),
}
"""Benchmark to splits with different directions, for metrics of every split."""
NO_METRICS = {"retain_results", *(split for splits in SPLITS.values() for split in splits)}
"""Other code in the cells of the table."""
OTHERS = {"attack": ("min_k",), "k": ("8",), "id": ("request",), "task": ("mmlu", "wmdp_bio"), "metric": ("acc",)}
"""Examples of what stands for the other placeholders."""


def logged() -> Iterator[tuple[str, str, list[str]]]:
    """Benchmark, callback and names of metrics, from the table of docs/logging.md."""
    text = (ROOT / "docs" / "logging.md").read_text(encoding="utf-8").partition("## Evaluations")[2]
    for benchmark, callback, cell in re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.*) \|$", text, re.MULTILINE):
        yield benchmark, callback, [span for span in re.findall(r"`([^`]+)`", cell) if span not in NO_METRICS]


def callback_of(name: str) -> type[EvaluationCallback]:
    """The evaluation called ``name``."""
    return getattr(importlib.import_module("unlearn_pl.callbacks"), name)  # type: ignore[no-any-return]


def instances(benchmark: str, metric: str) -> Iterator[tuple[str | None, str]]:
    """``(split, name)`` of a metric for each split of its benchmark, with examples for its other placeholders."""
    if "{split}" in metric:
        for split in SPLITS[benchmark]:
            yield from ((split, name) for _, name in instances(benchmark, metric.replace("{split}", split)))
        return
    for placeholder, examples in OTHERS.items():
        if f"{{{placeholder}}}" in metric:
            for example in examples:
                for _, name in instances(benchmark, metric.replace(f"{{{placeholder}}}", example)):
                    yield (example if placeholder == "task" else None), name
            return
    yield None, metric


def better(cls: type[EvaluationCallback], benchmark: str, metric: str) -> str:
    """Which values of a metric are better; where that depends on the split, split by split.

    Raises:
        ValueError: if the evaluation gives no direction for a metric that it logs.
    """
    found: dict[str, list[str]] = {}
    for split, name in instances(benchmark, metric):
        direction = cls.direction(name)
        if direction is None:
            raise ValueError(f"{cls.__name__} has no direction for {name!r}.")
        found.setdefault(BETTER[direction], []).append(split or name)
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{', '.join(f'`{split}`' for split in splits)}: {value}" for value, splits in found.items())


def definition(cls: type[EvaluationCallback], benchmark: str, metric: str) -> str:
    """The definition of a metric; a metric of a harness has that of its task.

    Raises:
        ValueError: if the evaluation gives no definition of a metric that it logs.
    """
    names = [name for _, name in instances(benchmark, metric)]
    found = next((text for name in names if (text := cls.definition(name))), None)
    if found is None and benchmark == "lm_eval":
        return "As the task of the lm-evaluation-harness defines it."
    if found is None:
        raise ValueError(f"{cls.__name__} has no definition of {names[0]!r}.")
    return found


def pages() -> dict[str, str]:
    """The page, by its path."""
    lines = [
        "# Metrics",
        "",
        "Every metric of every evaluation: what it is, and which values are better. Directions and definitions are "
        "those that the callbacks hold, and that [comparisons](evaluation.md#comparison) and [reports](report.md) "
        "show. What is left of the forget set has no better end than the value of a model that never saw it: values "
        "beyond that one reveal that something was unlearned.",
        "",
        "Logged as `val/{benchmark}/{metric}` and `test/{benchmark}/{metric}`; which ones need generation is on the "
        "page about [logging](logging.md#evaluations).",
    ]
    for benchmark, name, metrics in logged():
        cls = callback_of(name)
        lines += ["", f"## {benchmark}", "", f"[`{name}`][unlearn_pl.callbacks.{name}]", ""]
        lines += ["| metric | better | what it is |", "|---|---|---|"]
        for metric in metrics:
            what = definition(cls, benchmark, metric).replace("|", "\\|")
            lines.append(f"| `{metric}` | {better(cls, benchmark, metric)} | {what} |")
    return {PATH: "\n".join(lines) + "\n"}
