"""LightningModules: the engine, one preset per published method, and evaluation of any model."""

from unlearn_pl.modules.base import UnlearningModule
from unlearn_pl.modules.fine_tuning import FineTuning
from unlearn_pl.modules.fsdp2 import FSDP2Strategy, register
from unlearn_pl.modules.grad_ascent import GradAscent
from unlearn_pl.modules.grad_diff import GradDiff
from unlearn_pl.modules.language import LanguageModule
from unlearn_pl.modules.mollm import MOLLM
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.pretrained import PretrainedModule
from unlearn_pl.modules.training import TrainingModule

register()

__all__ = [
    "MOLLM",
    "FSDP2Strategy",
    "FineTuning",
    "GradAscent",
    "GradDiff",
    "LanguageModule",
    "ModuleOptions",
    "PretrainedModule",
    "TrainingModule",
    "UnlearningModule",
]
