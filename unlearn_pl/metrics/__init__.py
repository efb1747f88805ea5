"""Numbers per example, gathered exactly over ranks, and the benchmarks' metrics as functions of them."""

from unlearn_pl.metrics.base import PerExampleMetric
from unlearn_pl.metrics.candidate_nll import CandidateNLL, CandidateTable
from unlearn_pl.metrics.rouge_recall import RougeRecall
from unlearn_pl.metrics.tofu import tofu_metrics, tofu_scores
from unlearn_pl.metrics.tofu_files import read_forget_questions, read_tofu_log, read_truth_ratios

__all__ = [
    "CandidateNLL",
    "CandidateTable",
    "PerExampleMetric",
    "RougeRecall",
    "read_forget_questions",
    "read_tofu_log",
    "read_truth_ratios",
    "tofu_metrics",
    "tofu_scores",
]
