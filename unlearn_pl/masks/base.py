"""What a mask is: the choice of what may change."""

from abc import ABC
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from unlearn_pl.recording import Recorded, arguments_of, record
from unlearn_pl.results.fingerprint import config_hash


class Mask(Recorded, ABC):
    """Keeps part of the weights as they are.

    A subclass writes one or both of two hooks: :meth:`freeze` for whole parameters, which then cost no gradient at
    all, :meth:`elements` for elements of parameters. Both see the names of ``model.named_parameters()``, where tied
    weights have one name.

    Attributes:
        element_wise: True when :meth:`elements` holds back elements. Weight decay then respects the mask, which takes
            an optimizer whose decay is decoupled from the gradient.
    """

    element_wise: ClassVar[bool] = True

    def freeze(self, model: nn.Module) -> None:
        """Set ``requires_grad`` to False where nothing may change; called before the optimizer exists.

        Raises:
            ValueError: if the mask does not fit ``model``.
        """

    def elements(self, name: str, like: Tensor) -> Tensor | None:
        """Which elements of a parameter may change: boolean, on the device of ``like``; None where all may.

        Args:
            name: of a trainable parameter.
            like: the parameter or its gradient; where it is sharded, so is the result.

        Raises:
            ValueError: if the mask does not fit.
        """
        return None

    def apply(self, names: Sequence[str], row: list[Tensor | None]) -> None:
        """Zero, in place, the elements of a gradient row that may not change.

        Args:
            names: names of the trainable parameters.
            row: one gradient per name, sharded like its parameter; None where an objective does not reach it.

        Raises:
            ValueError: if the mask does not fit the row.
        """
        for name, gradient in zip(names, row, strict=True):
            if gradient is not None and (kept := self.elements(name, gradient)) is not None:
                gradient.mul_(kept)

    def fingerprint(self) -> str:
        """Short text that differs between masks which let different weights change; of the arguments by default."""
        # The path of the file and not the public one: checkpoints hold this hash.
        cls = type(self)
        return config_hash(
            {"class_path": f"{cls.__module__}.{cls.__qualname__}", "init_args": record(arguments_of(self))}
        )
