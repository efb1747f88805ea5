"""Training of parameters that are selected by name."""

from collections.abc import Sequence
from typing import ClassVar

from torch import nn

from unlearn_pl.masks.base import Mask
from unlearn_pl.masks.choice import chosen_names, some_of


class TrainableParameters(Mask):
    r"""Trains the parameters whose name matches an ``include`` and no ``exclude`` expression.

    Parameters that are frozen already (the weights under an adapter) stay frozen.

    Args:
        include: regular expressions, searched anywhere in the name: ``layers\.[567]\.mlp\.down_proj``.
        exclude: regular expressions of exceptions.
    """

    element_wise: ClassVar[bool] = False

    def __init__(self, include: Sequence[str] = (".*",), exclude: Sequence[str] = ()) -> None:
        self.include = list(include)
        self.exclude = list(exclude)

    def freeze(self, model: nn.Module) -> None:
        """Freeze all other parameters.

        Raises:
            ValueError: if an expression matches no name, or nothing stays trainable.
        """
        parameters = dict(model.named_parameters())
        chosen = chosen_names(parameters, self.include, self.exclude)
        if not any(parameters[name].requires_grad for name in chosen):
            trainable = [name for name, parameter in parameters.items() if parameter.requires_grad]
            raise ValueError(
                f"include={self.include} and exclude={self.exclude} leave nothing to train; "
                f"without them these would be trained: {some_of(trainable)}"
            )
        for name in parameters.keys() - chosen:
            parameters[name].requires_grad_(False)
