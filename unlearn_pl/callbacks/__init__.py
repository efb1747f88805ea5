"""Callbacks for the Trainer: evaluation on benchmarks, monitoring, export."""

from unlearn_pl.callbacks.audit_trail import AuditTrail
from unlearn_pl.callbacks.averaged_weights import AveragedWeights
from unlearn_pl.callbacks.benchmarks.lume import LUMEEvaluation
from unlearn_pl.callbacks.benchmarks.rwku import RWKUEvaluation
from unlearn_pl.callbacks.canvas.evaluation import CanvasEvaluation
from unlearn_pl.callbacks.conflict_monitor import ConflictMonitor
from unlearn_pl.callbacks.cost.backward_passes import BackwardPasses
from unlearn_pl.callbacks.depth.uds import UDSEvaluation
from unlearn_pl.callbacks.evaluation import EvaluationCallback
from unlearn_pl.callbacks.export.hub import HubUpload
from unlearn_pl.callbacks.goals import Budget, StopAtGoals
from unlearn_pl.callbacks.images.classification import ClassificationEvaluation
from unlearn_pl.callbacks.leaks.sampled import Leaks
from unlearn_pl.callbacks.lm_eval import LMEvaluation
from unlearn_pl.callbacks.more_attacks import MoreAttacks
from unlearn_pl.callbacks.muse import MUSEEvaluation
from unlearn_pl.callbacks.preference import PreferenceEvaluation
from unlearn_pl.callbacks.progress_bar import ProgressBar
from unlearn_pl.callbacks.questions import QAEvaluation
from unlearn_pl.callbacks.requests import RequestEvaluation
from unlearn_pl.callbacks.save_predictions import SavePredictions
from unlearn_pl.callbacks.save_pretrained import SavePretrained
from unlearn_pl.callbacks.sparsity.l1_sparse import L1Sparse
from unlearn_pl.callbacks.steps import StepProjection
from unlearn_pl.callbacks.tofu import TOFUEvaluation
from unlearn_pl.callbacks.wmdp import WMDPEvaluation

__all__ = [
    "AuditTrail",
    "AveragedWeights",
    "BackwardPasses",
    "Budget",
    "CanvasEvaluation",
    "ClassificationEvaluation",
    "ConflictMonitor",
    "EvaluationCallback",
    "HubUpload",
    "L1Sparse",
    "LMEvaluation",
    "LUMEEvaluation",
    "Leaks",
    "MUSEEvaluation",
    "MoreAttacks",
    "PreferenceEvaluation",
    "ProgressBar",
    "QAEvaluation",
    "RWKUEvaluation",
    "RequestEvaluation",
    "SavePredictions",
    "SavePretrained",
    "StepProjection",
    "StopAtGoals",
    "TOFUEvaluation",
    "UDSEvaluation",
    "WMDPEvaluation",
]
