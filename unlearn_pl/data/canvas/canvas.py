"""Images of objects in styles, and texts that describe them."""

import string
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn_pl.data.images.dataset import LabeledImages

PROMPT = "A {object} image in {style} style."
"""The prompt of UnlearnCanvas."""


@dataclass(frozen=True)
class Canvas:
    """Images, each of an object in a style.

    Attributes:
        images: the images; the label of each is its pair, ``style * len(objects) + object``.
        styles: names of the styles, in the order of their numbers.
        objects: names of the objects.
    """

    images: LabeledImages
    styles: Sequence[str]
    objects: Sequence[str]

    @property
    def style(self) -> Tensor:
        """``[N]`` number of the style of each image."""
        return self.images.labels // len(self.objects)

    @property
    def object(self) -> Tensor:
        """``[N]`` number of the object of each image."""
        return self.images.labels % len(self.objects)

    def pair(self, style: int, object: int) -> int:
        """The label of an object in a style."""
        return style * len(self.objects) + object

    def counts(self) -> Tensor:
        """``[styles, objects]`` number of images of each pair."""
        total = len(self.styles) * len(self.objects)
        return torch.bincount(self.images.labels, minlength=total).view(len(self.styles), len(self.objects))


def check_prompt(prompt: str) -> None:
    """Check the placeholders of a prompt.

    Raises:
        ValueError: naming one that is unknown, or if there is none.
    """
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(prompt) if name is not None]
    except ValueError as error:
        raise ValueError(f"prompt is {prompt!r}: {error}. Accepted: a text such as {PROMPT!r}.") from error
    if unknown := [name for name in names if name not in ("style", "object")]:
        raise ValueError(
            f"prompt is {prompt!r}, with the placeholder {'{' + unknown[0] + '}'}; accepted: {{style}}, {{object}}."
        )
    if not names:
        raise ValueError(f"prompt is {prompt!r}, the same for all images; accepted: a text such as {PROMPT!r}.")


def described(prompt: str, style: str, object: str) -> str:
    """``prompt`` with the names filled in; underscores become spaces, as in the benchmark.

    Example:
        >>> described(PROMPT, "Van_Gogh", "Dogs")
        'A Dogs image in Van Gogh style.'
    """
    return prompt.format(style=style.replace("_", " "), object=object.replace("_", " "))
