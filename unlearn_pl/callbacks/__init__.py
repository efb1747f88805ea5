"""Callbacks for the Trainer: evaluation on the benchmarks, monitoring, export."""

from unlearn_pl.callbacks.evaluation import EvaluationCallback
from unlearn_pl.callbacks.tofu import TOFUEvaluation

__all__ = ["EvaluationCallback", "TOFUEvaluation"]
