"""What a mask is: the choice of what may change."""

from abc import ABC
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from unlearn_pl.recording import Recorded


class Mask(Recorded, ABC):
    """Keeps part of the weights as they are.

    A subclass writes one of the two hooks: :meth:`freeze` for whole parameters, which then cost no gradient at all,
    :meth:`apply` for elements of parameters. Both see the names of ``model.named_parameters()``, where tied weights
    have one name.

    Attributes:
        element_wise: True when :meth:`apply` changes gradients. The optimizer must then not decay weights by itself,
            for it would move those that may not change.
    """

    element_wise: ClassVar[bool] = True

    def freeze(self, model: nn.Module) -> None:
        """Set ``requires_grad`` to False where nothing may change; called before the optimizer exists.

        Raises:
            ValueError: if the mask does not fit ``model``.
        """

    def apply(self, names: Sequence[str], row: list[Tensor | None]) -> None:
        """Zero, in place, the elements of a gradient row that may not change.

        Args:
            names: names of the trainable parameters.
            row: one gradient per name, sharded like its parameter; None where an objective does not reach it.

        Raises:
            ValueError: if the mask does not fit the row.
        """
