"""Masks from boolean tensors."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from unlearn_pl.masks.base import Mask
from unlearn_pl.masks.placement import check_shape, placed_like
from unlearn_pl.masks.storage import mask_fingerprint, pack


class ElementMask(Mask):
    """Trains only the elements that a boolean tensor marks; parameters without such a tensor change freely.

    Args:
        masks: name of a trainable parameter to a bool tensor ``[...]`` of its (unsharded) shape, True where it may
            change.

    Raises:
        ValueError: if a tensor is not boolean.
    """

    def __init__(self, masks: Mapping[str, Tensor]) -> None:
        for name, mask in masks.items():
            if mask.dtype != torch.bool:
                raise ValueError(f"the mask of {name!r} has type {mask.dtype}; masks are torch.bool")
        self.masks = dict(masks)
        self._fingerprint = mask_fingerprint({name: pack(mask) for name, mask in masks.items()})

    def freeze(self, model: nn.Module) -> None:
        """Check the masks against ``model``, before training starts; freezes nothing.

        Raises:
            ValueError: if a name is not that of a trainable parameter, a shape differs, or nothing may change.
        """
        trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        self._check_names(trainable)
        for name, mask in self.masks.items():
            check_shape(name, mask, trainable[name])
        if not trainable.keys() - self.masks.keys() and not any(mask.any() for mask in self.masks.values()):
            raise ValueError("the masks mark no element of any parameter, so there is nothing to train")

    def elements(self, name: str, like: Tensor) -> Tensor | None:
        """The mask ``[...]`` of the parameter ``name``, sharded like ``like``; None without one.

        Raises:
            ValueError: if its shape differs from that of ``like``.
        """
        if name not in self.masks:
            return None
        check_shape(name, self.masks[name], like)
        self.masks[name] = placed_like(self.masks[name], like)  # the next step reuses it
        return self.masks[name]

    def apply(self, names: Sequence[str], row: list[Tensor | None]) -> None:
        """Zero, in place, the elements of a gradient row that may not change.

        Args:
            names: names of the trainable parameters.
            row: one gradient ``[...]`` per name, sharded like its parameter; None if the objective does not reach it.

        Raises:
            ValueError: if the name of a mask is not among ``names``, or a shape differs.
        """
        self._check_names(names)
        super().apply(names, row)

    def fingerprint(self) -> str:
        """SHA-256 of the names and the marked elements."""
        return self._fingerprint

    def _check_names(self, names: Iterable[str]) -> None:
        if unknown := sorted(self.masks.keys() - set(names)):
            raise ValueError(f"masks are given for {unknown}; trainable parameters are {sorted(names)}")
