"""What evaluations say about their metrics: definitions, the headline, and splits that hold the forget set."""

import re
from collections.abc import Mapping
from typing import ClassVar

import pytest

from tests.documents import DOCUMENTS
from unlearn_pl import callbacks
from unlearn_pl.callbacks import EvaluationCallback, MUSEEvaluation, TOFUEvaluation, UDSEvaluation, WMDPEvaluation
from unlearn_pl.callbacks.described.headline import Headline

EVALUATIONS = {
    cls.benchmark: cls
    for cls in map(vars(callbacks).get, callbacks.__all__)
    if issubclass(cls, EvaluationCallback) and cls is not EvaluationCallback
}


def documented(benchmark):
    """Names of the metrics that the page on logging lists, with letters in the place of braces."""
    (row,) = [line for line in DOCUMENTS["docs/logging.md"].splitlines() if line.startswith(f"| `{benchmark}` |")]
    return [re.sub(r"\{\w+\}", "x", name) for name in re.findall(r"`([\w{}]+)`", row.split("|")[3])]


@pytest.mark.parametrize("benchmark", sorted(EVALUATIONS.keys() - {"lm_eval", "requests", "canvas"}))
def test_the_headline_names_metrics_that_there_are(benchmark):
    headline = EVALUATIONS[benchmark].headline
    names = [*documented(benchmark), "forget_probability", "retain_probability", "wmdp_bio_accuracy", "mmlu_accuracy"]
    for patterns in (headline.forgotten, headline.utility):
        assert not patterns or headline.find(patterns, names), patterns


WORDS = {"forget", "retain", "real_authors", "world_facts", "holdout", "normal", "same_style", "same_object"}
WORDS |= {"retain_results"}
"""Names of splits and arguments among the documented metrics."""


@pytest.mark.parametrize("benchmark", sorted(EVALUATIONS.keys() - {"lm_eval"}))
def test_every_documented_metric_has_a_definition(benchmark):
    cls = EVALUATIONS[benchmark]
    assert not [name for name in documented(benchmark) if name not in WORDS and cls.definition(name) is None]


def test_own_definitions_come_first():
    class Own(TOFUEvaluation):
        definitions: ClassVar[Mapping[str, str]] = {"forget_prob*": "ours"}

    assert Own.definition("forget_probability") == "ours"
    assert Own.definition("retain_probability") == TOFUEvaluation.definition("retain_probability")
    assert Own.definition("unheard_of") is None


@pytest.mark.parametrize(
    ("cls", "split", "metrics", "expected"),
    [
        (TOFUEvaluation, "forget", ("forget_probability", "forget_quality"), True),
        (TOFUEvaluation, "retain", ("retain_probability",), False),
        (MUSEEvaluation, "verbmem_forget", ("verbmem_forget",), True),
        (MUSEEvaluation, "knowmem_retain", ("knowmem_retain",), False),
        (WMDPEvaluation, "wmdp_bio", ("wmdp_bio_accuracy",), True),
        (WMDPEvaluation, "mmlu", ("mmlu_accuracy",), False),
        (UDSEvaluation, "forget", ("forget_uds",), True),  # better if higher, and still the forget set
        (TOFUEvaluation, "unheard_of", (), True),  # what is not known is not shown
        (EvaluationCallback, "retain", ("retain_score",), True),
    ],
)
def test_splits_that_may_hold_the_forget_set(cls, split, metrics, expected):
    assert cls.holds_forget_set(split, dict.fromkeys(metrics, 0.5)) is expected


def test_the_first_pattern_that_matches_counts():
    headline = Headline(forgotten=("b*", "a*"))
    assert headline.find(headline.forgotten, ["a1", "b1", "b2"]) == "b1"
    assert headline.find(headline.utility, ["a1"]) is None
