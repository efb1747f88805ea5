"""Callbacks for the Trainer: evaluation on the benchmarks, monitoring, export."""

from unlearn_pl.callbacks.conflict_monitor import ConflictMonitor
from unlearn_pl.callbacks.evaluation import EvaluationCallback
from unlearn_pl.callbacks.save_predictions import SavePredictions
from unlearn_pl.callbacks.save_pretrained import SavePretrained
from unlearn_pl.callbacks.tofu import TOFUEvaluation

__all__ = ["ConflictMonitor", "EvaluationCallback", "SavePredictions", "SavePretrained", "TOFUEvaluation"]
