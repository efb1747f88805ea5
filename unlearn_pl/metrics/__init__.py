"""Scores per example, gathered exactly over ranks, and benchmark metrics as functions of them."""

from unlearn_pl.metrics.answer_metric import AnswerMetric
from unlearn_pl.metrics.base import PerExampleMetric
from unlearn_pl.metrics.candidate_nll import CandidateNLL, CandidateTable, TokenCount
from unlearn_pl.metrics.canvas import ConceptCorrect, OtherCorrect
from unlearn_pl.metrics.choice_correct import ChoiceCorrect, ChoiceCorrectByLength
from unlearn_pl.metrics.classification import (
    ClassConfidence,
    ClassCorrect,
    ClassEntropy,
    ClassMetric,
    ModifiedEntropy,
)
from unlearn_pl.metrics.direction import Direction, direction_of
from unlearn_pl.metrics.fluency import Fluency
from unlearn_pl.metrics.kept_rows import KeptRows
from unlearn_pl.metrics.membership import (
    membership_attacks,
    membership_intervals,
    membership_metrics,
    read_membership_scores,
)
from unlearn_pl.metrics.membership_attacks import (
    GradientNormAttack,
    LossAttack,
    MinKAttack,
    MinKPlusPlusAttack,
    ReferenceAttack,
    ZlibAttack,
)
from unlearn_pl.metrics.memorization import ExactMemorization, ExtractionStrength, memorization_metrics
from unlearn_pl.metrics.proof.core_drops import Core, CoreDrops
from unlearn_pl.metrics.proof.leak_tests import Asked, EntailedLeak, JudgedLeak, LeakTest, RougeLeak, SpanLeak
from unlearn_pl.metrics.proof.sampled_leaks import SampledLeaks, leak_metrics
from unlearn_pl.metrics.proof.shadow_attack import ShadowAttack
from unlearn_pl.metrics.refusal_rate import RefusalRate, is_refusal
from unlearn_pl.metrics.rouge import RougeF1, RougeRecall
from unlearn_pl.metrics.short_answers import ShortAnswers, short_answer_metrics
from unlearn_pl.metrics.tofu.aggregates import paraphrase_scores, tofu_aggregates
from unlearn_pl.metrics.tofu.files import read_questions, read_tofu_log, read_truth_ratios
from unlearn_pl.metrics.tofu.scores import tofu_metrics, tofu_scores

__all__ = [
    "AnswerMetric",
    "Asked",
    "CandidateNLL",
    "CandidateTable",
    "ChoiceCorrect",
    "ChoiceCorrectByLength",
    "ClassConfidence",
    "ClassCorrect",
    "ClassEntropy",
    "ClassMetric",
    "ConceptCorrect",
    "Core",
    "CoreDrops",
    "Direction",
    "EntailedLeak",
    "ExactMemorization",
    "ExtractionStrength",
    "Fluency",
    "GradientNormAttack",
    "JudgedLeak",
    "KeptRows",
    "LeakTest",
    "LossAttack",
    "MinKAttack",
    "MinKPlusPlusAttack",
    "ModifiedEntropy",
    "OtherCorrect",
    "PerExampleMetric",
    "ReferenceAttack",
    "RefusalRate",
    "RougeF1",
    "RougeLeak",
    "RougeRecall",
    "SampledLeaks",
    "ShadowAttack",
    "ShortAnswers",
    "SpanLeak",
    "TokenCount",
    "ZlibAttack",
    "direction_of",
    "is_refusal",
    "leak_metrics",
    "membership_attacks",
    "membership_intervals",
    "membership_metrics",
    "memorization_metrics",
    "paraphrase_scores",
    "read_membership_scores",
    "read_questions",
    "read_tofu_log",
    "read_truth_ratios",
    "short_answer_metrics",
    "tofu_aggregates",
    "tofu_metrics",
    "tofu_scores",
]
