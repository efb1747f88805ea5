"""Robustness attacks on unlearned models.

:class:`Audit` runs them; each is a subclass of :class:`Attack`.
"""

from unlearn_pl.robustness.attacks.activations.direction_ablation import DirectionAblation
from unlearn_pl.robustness.attacks.activations.linear_probe import LinearProbe
from unlearn_pl.robustness.attacks.activations.logit_lens import LogitLens
from unlearn_pl.robustness.attacks.activations.soft_prompt import SoftPrompt
from unlearn_pl.robustness.attacks.attack import Attack, Findings
from unlearn_pl.robustness.attacks.few_shot_prompts import FewShotPrompts
from unlearn_pl.robustness.attacks.images.textual_inversion import TextualInversion
from unlearn_pl.robustness.attacks.paraphrased_prompts import ParaphrasedPrompts
from unlearn_pl.robustness.attacks.prefix_attack import PrefixAttack
from unlearn_pl.robustness.attacks.prompt_attack import PromptAttack
from unlearn_pl.robustness.attacks.prompts.entity_attack import EntityAttack
from unlearn_pl.robustness.attacks.prompts.in_context_relearning import InContextRelearning
from unlearn_pl.robustness.attacks.prompts.multi_hop_questions import MultiHopQuestions
from unlearn_pl.robustness.attacks.prompts.reversed_questions import ReversedQuestions
from unlearn_pl.robustness.attacks.pruning_attack import PruningAttack
from unlearn_pl.robustness.attacks.quantization import Quantization
from unlearn_pl.robustness.attacks.relearning import Relearning
from unlearn_pl.robustness.attacks.sampled_answers import SampledAnswers
from unlearn_pl.robustness.attacks.sweeps.bounded_relearning import BoundedRelearning
from unlearn_pl.robustness.attacks.sweeps.relearning_sweep import RelearningSweep
from unlearn_pl.robustness.attacks.sweeps.sweep import Sweep
from unlearn_pl.robustness.attacks.unattacked import Unattacked
from unlearn_pl.robustness.attacks.view_attack import ViewAttack
from unlearn_pl.robustness.audit import Audit
from unlearn_pl.robustness.audit_file import AuditReport, read_report, write_report
from unlearn_pl.robustness.curve import Curve, best_within, curve_area, steps_to_level
from unlearn_pl.robustness.image_target import ImageLeakage, ImageSubject
from unlearn_pl.robustness.leakage import LeakageEvaluation
from unlearn_pl.robustness.outcome import Outcome, read_outcomes, write_outcomes
from unlearn_pl.robustness.paraphrasers.data_set_paraphrases import DataSetParaphrases
from unlearn_pl.robustness.paraphrasers.model_paraphrases import ModelParaphrases
from unlearn_pl.robustness.paraphrasers.paraphraser import Paraphraser
from unlearn_pl.robustness.paraphrasers.rule_based_rewrites import RuleBasedRewrites
from unlearn_pl.robustness.pruners.magnitude_pruner import MagnitudePruner
from unlearn_pl.robustness.pruners.pruner import Pruner
from unlearn_pl.robustness.pruners.wanda_pruner import WandaPruner
from unlearn_pl.robustness.quantizers.bits_and_bytes import BitsAndBytes
from unlearn_pl.robustness.quantizers.integer_rounding import IntegerRounding
from unlearn_pl.robustness.quantizers.normal_float4 import NormalFloat4
from unlearn_pl.robustness.quantizers.quantizer import Quantizer, RoundingQuantizer
from unlearn_pl.robustness.reference_models import ReferenceModel, reference_models
from unlearn_pl.robustness.relearning_sets.benign_neighbors import BenignNeighbours
from unlearn_pl.robustness.relearning_sets.random_fraction import RandomFraction
from unlearn_pl.robustness.relearning_sets.relearning_set import RelearningSet, Selection
from unlearn_pl.robustness.relearning_sets.shortest_fraction import ShortestFraction
from unlearn_pl.robustness.relearning_sets.unrelated_text import UnrelatedText
from unlearn_pl.robustness.target import Subject
from unlearn_pl.robustness.time_budget import NotRun, TimeBudget
from unlearn_pl.robustness.verdict import Estimate, Leak, Verdict, verdict_of
from unlearn_pl.robustness.verdict_text import verdict_markdown

__all__ = [
    "Attack",
    "Audit",
    "AuditReport",
    "BenignNeighbours",
    "BitsAndBytes",
    "BoundedRelearning",
    "Curve",
    "DataSetParaphrases",
    "DirectionAblation",
    "EntityAttack",
    "Estimate",
    "FewShotPrompts",
    "Findings",
    "ImageLeakage",
    "ImageSubject",
    "InContextRelearning",
    "IntegerRounding",
    "Leak",
    "LeakageEvaluation",
    "LinearProbe",
    "LogitLens",
    "MagnitudePruner",
    "ModelParaphrases",
    "MultiHopQuestions",
    "NormalFloat4",
    "NotRun",
    "Outcome",
    "ParaphrasedPrompts",
    "Paraphraser",
    "PrefixAttack",
    "PromptAttack",
    "Pruner",
    "PruningAttack",
    "Quantization",
    "Quantizer",
    "RandomFraction",
    "ReferenceModel",
    "Relearning",
    "RelearningSet",
    "RelearningSweep",
    "ReversedQuestions",
    "RoundingQuantizer",
    "RuleBasedRewrites",
    "SampledAnswers",
    "Selection",
    "ShortestFraction",
    "SoftPrompt",
    "Subject",
    "Sweep",
    "TextualInversion",
    "TimeBudget",
    "Unattacked",
    "UnrelatedText",
    "Verdict",
    "ViewAttack",
    "WandaPruner",
    "best_within",
    "curve_area",
    "read_outcomes",
    "read_report",
    "reference_models",
    "steps_to_level",
    "verdict_markdown",
    "verdict_of",
    "write_outcomes",
    "write_report",
]
