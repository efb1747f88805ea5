"""Base class of masks: which weights may change."""

from abc import ABC
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from unlearn_pl.recording import Recorded, record
from unlearn_pl.results.fingerprint import config_hash


class Mask(Recorded, ABC):
    """Keeps some of the weights unchanged.

    A subclass implements one or both of two hooks: :meth:`freeze` for whole parameters, which then cost no gradient at
    all, and :meth:`elements` for elements of parameters. Both see the names of ``model.named_parameters()``, where tied
    weights have one name.

    Attributes:
        element_wise: True if :meth:`elements` masks elements. Weight decay then respects the mask, which requires an
            optimizer whose decay is decoupled from the gradient.
    """

    element_wise: ClassVar[bool] = True

    def freeze(self, model: nn.Module) -> None:
        """Set ``requires_grad`` to False where nothing may change; called before the optimizer exists.

        Raises:
            ValueError: if the mask does not fit ``model``.
        """

    def elements(self, name: str, like: Tensor) -> Tensor | None:
        """Which elements of a parameter may change.

        Args:
            name: name of a trainable parameter.
            like: ``[...]``, the parameter or its gradient.

        Returns:
            ``[...]`` bool, on the device of ``like`` and sharded like it; None if all elements may change.

        Raises:
            ValueError: if the mask does not fit.
        """
        return None

    def apply(self, names: Sequence[str], row: list[Tensor | None]) -> None:
        """Zero, in place, the elements of a gradient row that may not change.

        Args:
            names: names of the trainable parameters.
            row: one gradient ``[...]`` per name, sharded like its parameter; None if the objective does not reach it.

        Raises:
            ValueError: if the mask does not fit the row.
        """
        for name, gradient in zip(names, row, strict=True):
            if gradient is not None and (kept := self.elements(name, gradient)) is not None:
                gradient.mul_(kept)

    def fingerprint(self) -> str:
        """Short text that differs between masks of different weights; a hash of the arguments by default."""
        return config_hash(record(self))
