"""What is to be forgotten: a style, an object, or an object in a style."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from random import Random
from typing import ClassVar, Literal

import torch
from torch import Tensor

from unlearn_pl.data.canvas.canvas import Canvas
from unlearn_pl.recording import Recorded

Kind = Literal["style", "object", "pair"]
KINDS: tuple[Kind, ...] = ("style", "object", "pair")


class ConceptRequest(Recorded, ABC):
    """Chooses the pairs of style and object to be forgotten, and what their prompts are to mean instead.

    Attributes:
        kind: of what is forgotten.
    """

    kind: ClassVar[Kind]

    @abstractmethod
    def chosen(self, canvas: Canvas) -> Tensor:
        """``[styles, objects]`` bool, True for what is to be forgotten.

        Raises:
            ValueError: naming a style or an object that there is not.
        """

    @abstractmethod
    def instead(self, canvas: Canvas, style: int, object: int, photo: int, random: Random) -> tuple[int, int]:
        """Style and object that stand for a forgotten pair.

        Args:
            canvas: the images.
            style: of the pair.
            object: of the pair.
            photo: number of the style that stands for none.
            random: chooses among several.
        """


class ForgetStyle(ConceptRequest):
    """All objects in a style; their prompts are to mean photos of the objects.

    Args:
        style: name of the style.
        swap_object: whether photos are of another object, as in the benchmark's code.
    """

    kind: ClassVar[Kind] = "style"

    def __init__(self, style: str, swap_object: bool = False) -> None:
        self.style = style
        self.swap_object = swap_object

    def chosen(self, canvas: Canvas) -> Tensor:
        """See :meth:`ConceptRequest.chosen`."""
        found = torch.zeros(len(canvas.styles), len(canvas.objects), dtype=torch.bool)
        found[number_of(self.style, canvas.styles, "style")] = True
        return found

    def instead(self, canvas: Canvas, style: int, object: int, photo: int, random: Random) -> tuple[int, int]:
        """See :meth:`ConceptRequest.instead`."""
        new = other_than(object, canvas.objects, random) if self.swap_object else object
        return (photo if style != photo else other_than(style, canvas.styles, random)), new


class ForgetObject(ConceptRequest):
    """An object in all styles; its prompts are to mean other objects in the same style.

    Args:
        object: name of the object.
    """

    kind: ClassVar[Kind] = "object"

    def __init__(self, object: str) -> None:
        self.object = object

    def chosen(self, canvas: Canvas) -> Tensor:
        """See :meth:`ConceptRequest.chosen`."""
        found = torch.zeros(len(canvas.styles), len(canvas.objects), dtype=torch.bool)
        found[:, number_of(self.object, canvas.objects, "object")] = True
        return found

    def instead(self, canvas: Canvas, style: int, object: int, photo: int, random: Random) -> tuple[int, int]:
        """See :meth:`ConceptRequest.instead`."""
        return style, other_than(object, canvas.objects, random)


class ForgetPair(ConceptRequest):
    """One object in one style; its prompts are to mean photos of the object.

    Args:
        style: name of the style.
        object: name of the object.
    """

    kind: ClassVar[Kind] = "pair"

    def __init__(self, style: str, object: str) -> None:
        self.style = style
        self.object = object

    def chosen(self, canvas: Canvas) -> Tensor:
        """See :meth:`ConceptRequest.chosen`."""
        found = torch.zeros(len(canvas.styles), len(canvas.objects), dtype=torch.bool)
        style, thing = number_of(self.style, canvas.styles, "style"), number_of(self.object, canvas.objects, "object")
        found[style, thing] = True
        return found

    def instead(self, canvas: Canvas, style: int, object: int, photo: int, random: Random) -> tuple[int, int]:
        """See :meth:`ConceptRequest.instead`."""
        return (photo if style != photo else other_than(style, canvas.styles, random)), object


def number_of(name: str, names: Sequence[str], what: str) -> int:
    """The position of ``name`` among ``names``.

    Raises:
        ValueError: if it is not among them.
    """
    if name not in names:
        raise ValueError(f"There is no {what} {name!r}; accepted: {', '.join(names)}.")
    return list(names).index(name)


def other_than(number: int, names: Sequence[str], random: Random) -> int:
    """A number of one of ``names``, but not ``number``.

    Raises:
        ValueError: if there is no other.
    """
    others = [other for other in range(len(names)) if other != number]
    if not others:
        raise ValueError(f"{names[0]!r} is the only one of its kind, so that nothing can stand for it.")
    return random.choice(others)
