"""The check of what a module's checkpoint names: nothing in it is imported, called or built before it has passed."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from unlearn_pl import models
from unlearn_pl.combiners import Combiner
from unlearn_pl.gradients import GradientSource
from unlearn_pl.masks import Mask, TrainableParameters
from unlearn_pl.models import LoRA, ModelSpec
from unlearn_pl.objectives import Objective
from unlearn_pl.optim import Schedule
from unlearn_pl.recorded_paths import Accepted, check_paths, find
from unlearn_pl.recording import Recorded
from unlearn_pl.references import Reference

__all__ = ["ACCEPTED", "check_record", "find"]

ACCEPTED = Accepted(
    components=(Recorded, Optimizer, nn.Module),
    fitting={
        "model": (ModelSpec, nn.Module),
        "objectives": (Objective,),
        "combiner": (Combiner,),
        "reference": (Reference,),
        "mask": (Mask,),
        "gradient": (GradientSource,),
        "optimizer": (Optimizer,),
        "schedule": (Schedule, LRScheduler),
    },
    functions={"model": {"unlearn_pl.models.tiny_llama": models.tiny_llama}},
    # Names of weights look like import paths: "model.norm" beside a file model.py.
    texts={TrainableParameters: ("include", "exclude"), LoRA: ("target_modules",)},
)
"""What a record of a module may name; the types of components' own arguments narrow it."""


def check_record(record: Mapping[str, Any], allow: Sequence[str] = ()) -> None:
    """Check every class, function and import path in a record, before anything is built from it.

    Args:
        record: arguments of a module as plain data, and ``_class_path``, which Lightning checks.
        allow: packages whose modules may be imported, and whose classes and functions may be used.

    Raises:
        ValueError: naming the argument and the path that does not fit it, and what is accepted.
    """
    check_paths(record, ACCEPTED, allow)
