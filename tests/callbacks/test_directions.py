"""Every metric says which of its values are better."""

import re
from typing import get_args

import pytest

from tests.documents import DOCUMENTS
from unlearn_pl import callbacks
from unlearn_pl.callbacks import EvaluationCallback
from unlearn_pl.functional import memorization_score
from unlearn_pl.metrics import Direction, direction_of
from unlearn_pl.metrics.membership import ATTACKS, MORE_ATTACKS
from unlearn_pl.robustness.leakage import LeakageEvaluation

EVALUATIONS = {
    cls.benchmark: cls
    for cls in vars(callbacks).values()
    if isinstance(cls, type) and issubclass(cls, EvaluationCallback) and hasattr(cls, "benchmark")
}
SPLITS = {
    "tofu": ("forget", "retain", "real_authors", "world_facts", "holdout"),
    "wmdp": ("wmdp_bio", "wmdp_chem", "mmlu", "mine"),
    "preference": ("forget", "retain", "normal"),
    "qa": ("forget", "retain", "mine"),
    "uds": ("forget", "retain"),
    "rwku": ("forget_level1", "neighbor_level2"),
    "lume": ("forget_task1_completion", "retain_task3_qa"),
    "classification": ("forget", "retain", "test", "test_forgotten"),
    "canvas": ("same_style", "same_object", "retain"),
}
FILLED = {
    "attack": (*ATTACKS, *MORE_ATTACKS),
    "k": ("1", "16"),
    "id": ("author-1",),
    "task": ("wmdp_bio", "hellaswag"),
    "metric": ("acc", "acc_norm", "word_perplexity"),
}


def documented(benchmark: str) -> list[str]:
    """The metrics of the row of docs/logging.md, with every value for what stands in braces."""
    (row,) = re.findall(rf"^\| `{benchmark}` \| `\w+` \|(.*)\|$", DOCUMENTS["docs/logging.md"], re.MULTILINE)
    names = [name for name in re.findall(r"`([^`]+)`", row) if "_" in name or name.isalpha()]
    for field, values in {**FILLED, "split": SPLITS.get(benchmark, ("",))}.items():
        names = [name.replace(f"{{{field}}}", value) for name in names for value in values]
    return sorted(set(names) - {*SPLITS["tofu"], *SPLITS["preference"], *SPLITS["canvas"], "retain_results"})


@pytest.mark.parametrize("benchmark", EVALUATIONS)
def test_every_documented_metric_has_a_direction(benchmark):
    names = documented(benchmark)
    assert len(names) > 1
    found = {name: EVALUATIONS[benchmark].direction(name) for name in names}
    assert {name for name, direction in found.items() if direction not in get_args(Direction)} == set()
    assert LeakageEvaluation.direction("forget_rouge") == "retain"


@pytest.mark.parametrize(
    ("benchmark", "metric", "direction"),
    [
        ("tofu", "memorization", "higher"),  # 1 if nothing is memorized
        ("tofu", "forget_quality", "higher"),
        ("tofu", "log10_forget_quality", "higher"),
        ("tofu", "forget_probability", "retain"),
        ("tofu", "forget_extraction_strength", "retain"),
        ("tofu", "retain_extraction_strength", "higher"),
        ("tofu", "world_facts_rouge", "higher"),
        ("tofu", "auc_min_k_low", "retain"),
        ("tofu", "privleak", "retain"),
        ("muse", "verbmem_forget", "retain"),
        ("muse", "knowmem_retain", "higher"),
        ("muse", "knowmem_retain_extraction_strength", "higher"),
        ("muse", "knowmem_forget_extraction_strength", "retain"),
        ("wmdp", "wmdp_bio_accuracy_high", "lower"),
        ("wmdp", "mmlu_accuracy", "higher"),
        ("wmdp", "wikitext_perplexity", "lower"),
        ("preference", "normal_refusal_rate", "lower"),
        ("lm_eval", "wmdp_bio_acc", "lower"),
        ("lm_eval", "mmlu_acc_stderr", "higher"),
        ("requests", "highest_probability", "retain"),
        ("classification", "unlearning_accuracy", "retain"),
        ("classification", "test_accuracy", "higher"),
        ("classification", "test_forgotten_accuracy", "retain"),
        ("classification", "gap", "lower"),
    ],
)
def test_directions(benchmark, metric, direction):
    assert EVALUATIONS[benchmark].direction(metric) == direction


def test_memorization_is_high_where_nothing_is_memorized():
    assert memorization_score(0.0, 0.1, 0.1, 0.2) > memorization_score(0.6, 0.9, 0.9, 0.7)


def test_unknown_metrics_have_none():
    assert EvaluationCallback.direction("forget_length") is None
    assert direction_of("a_b", {}) is None
    assert direction_of("a_low", {"a": "lower"}) == "lower"
