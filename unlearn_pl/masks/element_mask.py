"""Training some elements of the weights."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from unlearn_pl.masks.base import Mask


class ElementMask(Mask):
    """Lets the elements change that a boolean tensor marks; parameters without such a tensor change freely.

    Args:
        masks: name of a trainable parameter to a boolean tensor of its (unsharded) shape, True where it may change.

    Raises:
        ValueError: if a tensor is not boolean.
    """

    def __init__(self, masks: Mapping[str, Tensor]) -> None:
        for name, mask in masks.items():
            if mask.dtype != torch.bool:
                raise ValueError(f"the mask of {name!r} has type {mask.dtype}; masks are torch.bool")
        self.masks = dict(masks)

    def freeze(self, model: nn.Module) -> None:
        """Check the masks against ``model``, before training starts; freezes nothing.

        Raises:
            ValueError: if a name is not that of a trainable parameter, or a shape is another one.
        """
        trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        self._check_names(trainable)
        for name, mask in self.masks.items():
            _check_shape(name, mask, trainable[name])

    def apply(self, names: Sequence[str], row: list[Tensor | None]) -> None:
        """Zero, in place, what may not change.

        Args:
            names: names of the trainable parameters.
            row: one gradient per name, sharded like its parameter; None where an objective does not reach it.

        Raises:
            ValueError: if a name is not among ``names``, or a shape is another one.
        """
        self._check_names(names)
        for name, gradient in zip(names, row, strict=True):
            if name in self.masks and gradient is not None:
                gradient.mul_(self._placed_like(name, gradient))

    def _check_names(self, names: Iterable[str]) -> None:
        if unknown := sorted(self.masks.keys() - set(names)):
            raise ValueError(f"masks are given for {unknown}; trainable parameters are {sorted(names)}")

    def _placed_like(self, name: str, gradient: Tensor) -> Tensor:
        """The mask on the device of ``gradient`` and sharded as it is; the next step finds it so."""
        mask = self.masks[name]
        _check_shape(name, mask, gradient)
        if isinstance(gradient, DTensor) and not isinstance(mask, DTensor):
            # Every rank holds the whole mask and keeps its own part: nothing is sent.
            mask = distribute_tensor(mask, gradient.device_mesh, gradient.placements, src_data_rank=None)
        self.masks[name] = mask.to(gradient.device)
        return self.masks[name]


def _check_shape(name: str, mask: Tensor, parameter: Tensor) -> None:
    if mask.shape != parameter.shape:
        raise ValueError(f"the mask of {name!r} has shape {tuple(mask.shape)}, its parameter {tuple(parameter.shape)}")
