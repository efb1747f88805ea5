"""The choice of what may change: whole parameters by name, or elements of parameters."""

from unlearn_pl.masks.base import Mask
from unlearn_pl.masks.element_mask import ElementMask
from unlearn_pl.masks.trainable_parameters import TrainableParameters

__all__ = ["ElementMask", "Mask", "TrainableParameters"]
