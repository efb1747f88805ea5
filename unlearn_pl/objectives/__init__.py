"""Losses that forget or retain, always minimized; one file per loss."""

from unlearn_pl.objectives.adaptive_rmu_loss import AdaptiveRMULoss
from unlearn_pl.objectives.base import Objective
from unlearn_pl.objectives.bounded_kl_loss import BoundedKLLoss
from unlearn_pl.objectives.causal_lm_loss import CausalLMLoss
from unlearn_pl.objectives.ceu_loss import CEULoss
from unlearn_pl.objectives.contrastive_loss import ContrastiveLoss
from unlearn_pl.objectives.diffusion.denoising_ascent_loss import DenoisingAscentLoss
from unlearn_pl.objectives.diffusion.denoising_loss import DenoisingLoss
from unlearn_pl.objectives.diffusion.esd_loss import ESDLoss
from unlearn_pl.objectives.diffusion.misalign_loss import MisalignLoss
from unlearn_pl.objectives.diffusion.prediction_consistency_loss import PredictionConsistencyLoss
from unlearn_pl.objectives.diffusion.uniform_noise_loss import UniformNoiseLoss
from unlearn_pl.objectives.dpo_loss import DPOLoss
from unlearn_pl.objectives.flat_loss import FLATLoss
from unlearn_pl.objectives.generic_prediction_loss import GenericPredictionLoss
from unlearn_pl.objectives.gradient_ascent_loss import GradientAscentLoss
from unlearn_pl.objectives.hidden_distance_loss import HiddenDistanceLoss
from unlearn_pl.objectives.hidden_state_loss import HiddenStateLoss
from unlearn_pl.objectives.inverted_hinge_loss import InvertedHingeLoss
from unlearn_pl.objectives.jensen_shannon_loss import JensenShannonLoss
from unlearn_pl.objectives.kl_divergence_loss import KLDivergenceLoss
from unlearn_pl.objectives.kto_loss import KTOLoss
from unlearn_pl.objectives.logit_margin_loss import LogitMarginLoss
from unlearn_pl.objectives.max_entropy_loss import MaxEntropyLoss
from unlearn_pl.objectives.npo_loss import NPOLoss
from unlearn_pl.objectives.random_label_loss import RandomLabelLoss
from unlearn_pl.objectives.refusal_jensen_shannon_loss import RefusalJensenShannonLoss
from unlearn_pl.objectives.refusal_loss import RefusalLoss
from unlearn_pl.objectives.rerouting_loss import ReroutingLoss
from unlearn_pl.objectives.rmu_loss import RMULoss
from unlearn_pl.objectives.satimp_loss import SatImpLoss
from unlearn_pl.objectives.simnpo_loss import SimNPOLoss
from unlearn_pl.objectives.tnpo_loss import TNPOLoss
from unlearn_pl.objectives.tuned_lens_loss import TunedLensLoss
from unlearn_pl.objectives.undial_loss import UNDIALLoss
from unlearn_pl.objectives.uniform_kl_loss import UniformKLLoss
from unlearn_pl.objectives.unilogit_loss import UnilogitLoss
from unlearn_pl.objectives.unlearning_cross_entropy_loss import UnlearningCrossEntropyLoss
from unlearn_pl.objectives.wga_loss import WGALoss
from unlearn_pl.objectives.wtnpo_loss import WTNPOLoss

__all__ = [
    "AdaptiveRMULoss",
    "BoundedKLLoss",
    "CEULoss",
    "CausalLMLoss",
    "ContrastiveLoss",
    "DPOLoss",
    "DenoisingAscentLoss",
    "DenoisingLoss",
    "ESDLoss",
    "FLATLoss",
    "GenericPredictionLoss",
    "GradientAscentLoss",
    "HiddenDistanceLoss",
    "HiddenStateLoss",
    "InvertedHingeLoss",
    "JensenShannonLoss",
    "KLDivergenceLoss",
    "KTOLoss",
    "LogitMarginLoss",
    "MaxEntropyLoss",
    "MisalignLoss",
    "NPOLoss",
    "Objective",
    "PredictionConsistencyLoss",
    "RMULoss",
    "RandomLabelLoss",
    "RefusalJensenShannonLoss",
    "RefusalLoss",
    "ReroutingLoss",
    "SatImpLoss",
    "SimNPOLoss",
    "TNPOLoss",
    "TunedLensLoss",
    "UNDIALLoss",
    "UniformKLLoss",
    "UniformNoiseLoss",
    "UnilogitLoss",
    "UnlearningCrossEntropyLoss",
    "WGALoss",
    "WTNPOLoss",
]
