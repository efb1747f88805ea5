"""Attacks on models that were made to forget: does it come back?

:class:`Audit` runs them; each is a class with :class:`Attack` as its base.
"""

from unlearn_pl.robustness.attack import Attack, Findings
from unlearn_pl.robustness.audit import Audit
from unlearn_pl.robustness.benign_neighbours import BenignNeighbours
from unlearn_pl.robustness.bits_and_bytes import BitsAndBytes
from unlearn_pl.robustness.curve import Curve, curve_area, steps_to_level
from unlearn_pl.robustness.data_set_paraphrases import DataSetParaphrases
from unlearn_pl.robustness.few_shot_prompts import FewShotPrompts
from unlearn_pl.robustness.integer_rounding import IntegerRounding
from unlearn_pl.robustness.leakage import LeakageEvaluation
from unlearn_pl.robustness.model_paraphrases import ModelParaphrases
from unlearn_pl.robustness.normal_float4 import NormalFloat4
from unlearn_pl.robustness.outcome import Outcome, read_outcomes, write_outcomes
from unlearn_pl.robustness.paraphrased_prompts import ParaphrasedPrompts
from unlearn_pl.robustness.paraphraser import Paraphraser
from unlearn_pl.robustness.prefix_attack import PrefixAttack
from unlearn_pl.robustness.prompt_attack import PromptAttack
from unlearn_pl.robustness.quantization import Quantization
from unlearn_pl.robustness.quantizer import Quantizer, RoundingQuantizer
from unlearn_pl.robustness.random_fraction import RandomFraction
from unlearn_pl.robustness.relearning import Relearning
from unlearn_pl.robustness.relearning_set import RelearningSet, Selection
from unlearn_pl.robustness.rule_based_rewrites import RuleBasedRewrites
from unlearn_pl.robustness.sampled_answers import SampledAnswers
from unlearn_pl.robustness.shortest_fraction import ShortestFraction
from unlearn_pl.robustness.subject import Subject
from unlearn_pl.robustness.unattacked import Unattacked
from unlearn_pl.robustness.unrelated_text import UnrelatedText

__all__ = [
    "Attack",
    "Audit",
    "BenignNeighbours",
    "BitsAndBytes",
    "Curve",
    "DataSetParaphrases",
    "FewShotPrompts",
    "Findings",
    "IntegerRounding",
    "LeakageEvaluation",
    "ModelParaphrases",
    "NormalFloat4",
    "Outcome",
    "ParaphrasedPrompts",
    "Paraphraser",
    "PrefixAttack",
    "PromptAttack",
    "Quantization",
    "Quantizer",
    "RandomFraction",
    "Relearning",
    "RelearningSet",
    "RoundingQuantizer",
    "RuleBasedRewrites",
    "SampledAnswers",
    "Selection",
    "ShortestFraction",
    "Subject",
    "Unattacked",
    "UnrelatedText",
    "curve_area",
    "read_outcomes",
    "steps_to_level",
    "write_outcomes",
]
