"""Labeled images: any number of them, of equal size, read on demand."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from unlearn_pl.recording import Recorded
from unlearn_pl.types import Batch

Item = dict[str, Tensor]
"""``image [C, H, W]`` in [0, 1], ``label []`` and ``index []``."""


class LabeledImages(ABC):
    """Images of equal size with a class each; a dataset of ``{"image": [C, H, W], "label": [], "index": []}``.

    Attributes:
        labels: ``[N]`` int64, not negative.
        classes: names of the classes, in the order of their numbers; empty if they have none.
    """

    labels: Tensor
    classes: Sequence[str] = ()

    @abstractmethod
    def image(self, i: int) -> Tensor:
        """Image number ``i``, ``[C, H, W]`` in [0, 1] float32."""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> Item:
        return {"image": self.image(i), "label": self.labels[i], "index": torch.tensor(i)}

    def hash_of(self, i: int) -> str:
        """SHA-256 of the pixels and the label of image number ``i``."""
        pixels = self.image(i).contiguous().numpy().tobytes()
        return hashlib.sha256(pixels + str(int(self.labels[i])).encode()).hexdigest()

    def fingerprint(self) -> str:
        """SHA-256 of all images and labels in their order."""
        return hashlib.sha256("".join(map(self.hash_of, range(len(self)))).encode()).hexdigest()


class ImagesInMemory(LabeledImages):
    """Images as one tensor.

    Args:
        images: ``[N, C, H, W]``, uint8 in [0, 255] or floating.
        labels: ``[N]``.
        classes: names of the classes.
    """

    def __init__(self, images: Tensor, labels: Tensor, classes: Sequence[str] = ()) -> None:
        self.images = images
        self.labels = labels
        self.classes = classes

    def image(self, i: int) -> Tensor:
        """See :meth:`LabeledImages.image`."""
        pixels = self.images[i]
        return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels

    def fingerprint(self) -> str:
        """SHA-256 of all pixels and labels."""
        parts = (self.images.contiguous(), self.labels)
        shapes = f"{list(self.images.shape)} {self.images.dtype}".encode()
        return hashlib.sha256(b"".join([shapes, *(part.numpy().tobytes() for part in parts)])).hexdigest()


class Part(LabeledImages):
    """Some of other images, in a given order, with labels of their own where they are given.

    Args:
        images: all images.
        rows: ``[n]`` int64, positions in ``images``.
        labels: ``[n]`` int64; by default those of ``images``.
    """

    def __init__(self, images: LabeledImages, rows: Tensor, labels: Tensor | None = None) -> None:
        self.whole = images
        self.rows = rows
        self.labels = images.labels[rows] if labels is None else labels
        self.classes = images.classes

    def image(self, i: int) -> Tensor:
        """See :meth:`LabeledImages.image`."""
        return self.whole.image(int(self.rows[i]))


class JoinedImages(LabeledImages):
    """Several sets of images after each other.

    Args:
        parts: of images of equal size.

    Raises:
        ValueError: if the images of two parts differ in size.
    """

    def __init__(self, parts: Sequence[LabeledImages]) -> None:
        check_equal_sizes(parts)
        self.parts = parts
        self.labels = torch.cat([part.labels for part in parts])
        self.classes = parts[0].classes
        self._ends = torch.tensor([len(part) for part in parts]).cumsum(0)

    def image(self, i: int) -> Tensor:
        """See :meth:`LabeledImages.image`."""
        part = int(torch.searchsorted(self._ends, i, right=True))
        before = int(self._ends[part - 1]) if part else 0
        return self.parts[part].image(i - before)


def collate_images(items: Sequence[Item]) -> Batch:
    """An :class:`~unlearn_pl.types.ImageBatch` of B items."""
    return {name: torch.stack([item[name] for item in items]) for name in ("image", "label", "index")}


def check_equal_sizes(sets: Sequence[LabeledImages]) -> None:
    """Check that the images of all sets have the same channels, height and width.

    Raises:
        ValueError: naming the sizes.
    """
    sizes = list(dict.fromkeys(tuple(images.image(0).shape) for images in sets if len(images)))
    if len(sizes) > 1:
        raise ValueError(f"The images of the sets have the sizes [C, H, W] {sizes}; accepted: one size for all.")


class ImageSource(Recorded, ABC):
    """Where labeled images come from; subclasses implement :meth:`load`."""

    @abstractmethod
    def load(self) -> LabeledImages:
        """The images.

        Raises:
            ValueError: naming what cannot be read, images of another size, and labels that are no classes.
        """
