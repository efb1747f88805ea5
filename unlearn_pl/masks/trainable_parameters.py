"""Training some parameters, chosen by their names."""

import re
from collections.abc import Iterable, Sequence
from typing import ClassVar

from torch import nn

from unlearn_pl.masks.base import Mask


class TrainableParameters(Mask):
    r"""Trains the parameters whose name matches an ``include`` and no ``exclude`` expression.

    Parameters that are frozen already (the weights under an adapter) stay so.

    Args:
        include: regular expressions, looked for anywhere in the name: ``layers\.[567]\.mlp\.down_proj``.
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
        for expression in [*self.include, *self.exclude]:
            if not _matching([expression], parameters):
                raise ValueError(f"no parameter's name matches {expression!r}; names are {_some(parameters)}")
        chosen = _matching(self.include, parameters) - _matching(self.exclude, parameters)
        if not any(parameters[name].requires_grad for name in chosen):
            trainable = [name for name, parameter in parameters.items() if parameter.requires_grad]
            raise ValueError(
                f"include={self.include} and exclude={self.exclude} leave nothing to train; "
                f"without them these would be trained: {_some(trainable)}"
            )
        for name in parameters.keys() - chosen:
            parameters[name].requires_grad_(False)


def _matching(expressions: Iterable[str], names: Iterable[str]) -> set[str]:
    return {name for name in names if any(re.search(expression, name) for expression in expressions)}


def _some(names: Iterable[str], at_most: int = 5) -> str:
    listed = list(names)
    return ", ".join(listed[:at_most]) + (f", ... ({len(listed)} in all)" if len(listed) > at_most else "")
