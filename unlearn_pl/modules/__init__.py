"""LightningModules: multi-objective unlearning, one preset per published method, and evaluation of any model."""

from unlearn_pl.modules.fsdp2 import FSDP2Strategy, register
from unlearn_pl.modules.model_module import ModelModule
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.presets.altpo import AltPO
from unlearn_pl.modules.presets.ceu import CEU
from unlearn_pl.modules.presets.erase_diff import EraseDiff
from unlearn_pl.modules.presets.esd import ESD
from unlearn_pl.modules.presets.fine_tuning import FineTuning
from unlearn_pl.modules.presets.flat import FLAT
from unlearn_pl.modules.presets.grad_ascent import GradAscent
from unlearn_pl.modules.presets.grad_diff import GradDiff
from unlearn_pl.modules.presets.idk_dpo import IdkDPO
from unlearn_pl.modules.presets.idk_nll import IdkNLL
from unlearn_pl.modules.presets.jensun import JensUn
from unlearn_pl.modules.presets.kl_min import KLMin
from unlearn_pl.modules.presets.kto import KTO
from unlearn_pl.modules.presets.max_entropy import MaxEntropy
from unlearn_pl.modules.presets.mollm import MOLLM
from unlearn_pl.modules.presets.npo import NPO
from unlearn_pl.modules.presets.pdu import PDU
from unlearn_pl.modules.presets.raul import RAUL
from unlearn_pl.modules.presets.rmu import RMU
from unlearn_pl.modules.presets.salun import SalUn
from unlearn_pl.modules.presets.satimp import SatImp
from unlearn_pl.modules.presets.simnpo import SimNPO
from unlearn_pl.modules.presets.tuned_lens import TunedLens
from unlearn_pl.modules.presets.undial import UNDIAL
from unlearn_pl.modules.presets.wga import WGA
from unlearn_pl.modules.pretrained import PretrainedModule
from unlearn_pl.modules.unlearning import UnlearningModule

register()

LanguageModule = ModelModule
"""Former name of :class:`ModelModule`, from before there were other kinds of models."""

__all__ = [
    "CEU",
    "ESD",
    "FLAT",
    "KTO",
    "MOLLM",
    "NPO",
    "PDU",
    "RAUL",
    "RMU",
    "UNDIAL",
    "WGA",
    "AltPO",
    "EraseDiff",
    "FSDP2Strategy",
    "FineTuning",
    "GradAscent",
    "GradDiff",
    "IdkDPO",
    "IdkNLL",
    "JensUn",
    "KLMin",
    "LanguageModule",
    "MaxEntropy",
    "ModelModule",
    "ModuleOptions",
    "PretrainedModule",
    "SalUn",
    "SatImp",
    "SimNPO",
    "TunedLens",
    "UnlearningModule",
]
