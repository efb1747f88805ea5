"""Masks read from a file."""

import weakref
from pathlib import Path

import torch
from torch import Tensor, nn

from unlearn_pl.masks.base import Mask
from unlearn_pl.masks.choice import some_of
from unlearn_pl.masks.placement import placed_like
from unlearn_pl.masks.storage import MaskHeader, read_mask, read_mask_header
from unlearn_pl.results.fingerprint import weights_fingerprint


class MaskFile(Mask):
    """Trains only the elements that a mask file marks.

    ``unlearn-pl attribute`` writes such files. A parameter that is not in the file, or without marked elements, is
    frozen as a whole and costs no gradient. Masks are read parameter by parameter, and each rank keeps its part.

    Args:
        path: the file; all ranks must see it.
        same_weights: raise ``ValueError`` for a model whose weights are not exactly those that the mask was made for.
            False to use the mask on a model with the same parameters in another precision, or after more training.
    """

    def __init__(self, path: str, same_weights: bool = True) -> None:
        self.path = path
        self.same_weights = same_weights
        self._placed: dict[str, Tensor] = {}
        self._accepted: weakref.ref[nn.Module] | None = None
        self._fingerprint = ""

    def freeze(self, model: nn.Module) -> None:
        """Check that the mask was made for ``model``, and freeze the parameters without marked elements.

        The weights are compared once per model, since training changes them.

        Raises:
            ValueError: if the file is missing, not a mask file or changed after it was written, belongs to another
                model, or leaves nothing to train.
        """
        header = read_mask_header(Path(self.path))
        parameters = dict(model.named_parameters())
        if self._accepted is None or self._accepted() is not model:
            self.check(header, model)
            self._placed.clear()
            self._accepted = weakref.ref(model)
            self._fingerprint = header.mask
        moving = {name for name, kept in header.kept.items() if kept and parameters[name].requires_grad}
        if not moving:
            raise ValueError(f"The mask {self.path!r} marks no trainable weight, so there is nothing to train.")
        for name in parameters.keys() - moving:
            parameters[name].requires_grad_(False)

    def elements(self, name: str, like: Tensor) -> Tensor | None:
        """The mask ``[...]`` of the parameter ``name``, sharded like ``like``; read on first use."""
        if name not in self._placed:
            self._placed[name] = placed_like(read_mask(Path(self.path), name, torch.Size(like.shape)), like)
        return self._placed[name]

    def fingerprint(self) -> str:
        """SHA-256 of the names and the marked elements, as recorded in the file."""
        return self._fingerprint or read_mask_header(Path(self.path)).mask

    def check(self, header: MaskHeader, model: nn.Module) -> None:
        """Check that the mask was made for ``model``.

        Args:
            header: that of the file.
            model: with the weights before training.

        Raises:
            ValueError: if it was made for other parameters, or other weights.
        """
        shapes = {name: list(parameter.shape) for name, parameter in model.named_parameters()}
        if shapes != header.parameters:
            differing = sorted(
                name
                for name in shapes.keys() | header.parameters.keys()
                if shapes.get(name) != header.parameters.get(name)
            )
            raise ValueError(
                f"The mask {self.path!r} was made for another model: the names or shapes of these parameters differ: "
                f"{some_of(differing)}."
            )
        if self.same_weights and (found := weights_fingerprint(model)) != header.weights:
            raise ValueError(
                f"The mask {self.path!r} was made for other weights (fingerprint {header.weights[:12]}, these have "
                f"{found[:12]}), or in another precision. Make a mask of these weights with `unlearn-pl attribute`, "
                "or accept it with same_weights=False."
            )
