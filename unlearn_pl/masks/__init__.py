"""Masks: which weights may change, as whole parameters by name or as elements of parameters."""

from unlearn_pl.masks.base import Mask
from unlearn_pl.masks.choice import chosen_names, some_of
from unlearn_pl.masks.element_mask import ElementMask
from unlearn_pl.masks.mask_file import MaskFile
from unlearn_pl.masks.placement import placed_like
from unlearn_pl.masks.pruned_weights import Pruned, PrunedByFile, PrunedWeights
from unlearn_pl.masks.storage import (
    MaskHeader,
    mask_fingerprint,
    pack,
    read_mask,
    read_mask_header,
    unpack,
    write_mask_file,
)
from unlearn_pl.masks.trainable_parameters import TrainableParameters

__all__ = [
    "ElementMask",
    "Mask",
    "MaskFile",
    "MaskHeader",
    "Pruned",
    "PrunedByFile",
    "PrunedWeights",
    "TrainableParameters",
    "chosen_names",
    "mask_fingerprint",
    "pack",
    "placed_like",
    "read_mask",
    "read_mask_header",
    "some_of",
    "unpack",
    "write_mask_file",
]
