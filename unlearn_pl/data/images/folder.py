"""Images in files, a folder per class."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from unlearn_pl.data.images.dataset import ImageSource, LabeledImages
from unlearn_pl.data.io.contained import check_contained
from unlearn_pl.data.io.damaged import DAMAGED
from unlearn_pl.printable import printable

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
MAX_PIXELS = 2**27
"""Pixels of the largest image that is read; a file of a few kilobytes may claim any number."""
DAMAGE = (*DAMAGED, SyntaxError, struct.error)
"""What Pillow's decoders raise on bytes that no encoder wrote."""


class ImageFolder(ImageSource):
    """Images in files, ``<folder>/<class>/<file>``, read on demand with Pillow (the extra ``vision``).

    Args:
        path: the folder. Its folders are the classes, in the order of their names; files in them that are no images
            by their endings are ignored.
        size: height and width to resize to; None if all images have the same size.
        grayscale: whether to read one channel instead of three.

    Raises:
        ValueError: from :meth:`load`, if there is no such folder, a class has no images, a file cannot be read or lies
            outside of the folder, or images differ in size.
        ImportError: from :meth:`load`, without Pillow.
    """

    def __init__(self, path: str, size: Sequence[int] | None = None, grayscale: bool = False) -> None:
        check_size(size)
        self.path = path
        self.size = size
        self.grayscale = grayscale

    def load(self) -> LabeledImages:
        """See :meth:`ImageSource.load`; reads the sizes of all files."""
        root = Path(self.path)
        if not root.is_dir():
            raise ValueError(f"There is no folder {self.path!r}; accepted: one with a folder of images per class.")
        names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        files = [[file for file in sorted((root / name).rglob("*")) if _is_image(file)] for name in names]
        if empty := [name for name, found in zip(names, files, strict=True) if not found]:
            raise ValueError(f"The folders {empty} in {self.path!r} have no images; accepted endings: {ENDINGS}.")
        if not names:
            raise ValueError(f"The folder {self.path!r} has no folders; accepted: a folder of images per class.")
        paths = [check_contained(file, root) for found in files for file in found]
        labels = torch.tensor([label for label, found in enumerate(files) for _ in found])
        return ImageFiles(paths, labels, names, self.size, self.grayscale)


class ImageFiles(LabeledImages):
    """Images in files; see :class:`ImageFolder`.

    Args:
        paths: N files.
        labels: ``[N]``.
        classes: names of the classes.
        size: height and width to resize to.
        grayscale: whether to read one channel.
    """

    def __init__(
        self, paths: Sequence[Path], labels: Tensor, classes: Sequence[str], size: Sequence[int] | None, grayscale: bool
    ) -> None:
        self.paths = paths
        self.labels = labels
        self.classes = classes
        self.size = size
        self.grayscale = grayscale
        if size is None:
            check_same({str(path): size_of(path) for path in paths})

    def image(self, i: int) -> Tensor:
        """See :meth:`LabeledImages.image`."""
        with opened(self.paths[i]) as picture, reading(str(self.paths[i])):
            return pixels_of(picture, self.size, self.grayscale)


def opened(path: Path) -> Picture:
    """The picture in a file, of which the header is read; the pixels are read when they are needed.

    Raises:
        ValueError: if it is none, or too large.
        ImportError: without Pillow.
    """
    with reading(str(path)):
        picture = pillow().open(path)
    width, height = picture.size
    if width * height > MAX_PIXELS:
        picture.close()
        raise ValueError(f"{printable(str(path))} has {width} x {height} pixels; accepted: up to {MAX_PIXELS}.")
    return picture


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Within the context, what Pillow says of a damaged picture is a ``ValueError`` that names it.

    Args:
        name: of the file or the row that holds the picture.

    Raises:
        ValueError: if the picture cannot be read, or claims more memory than there is.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, DAMAGE) and type(error).__name__ != "DecompressionBombError":  # of Pillow
            raise
        reason = str(error) or type(error).__name__
        raise ValueError(f"{printable(name)} cannot be read as an image: {reason}") from error


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of the picture in a file."""
    with opened(path) as picture:
        return picture.size


def pixels_of(picture: Picture, size: Sequence[int] | None, grayscale: bool) -> Tensor:
    """``[C, H, W]`` in [0, 1] of a picture, resized to height and width."""
    converted = picture.convert("L" if grayscale else "RGB")
    if size is not None:
        converted = converted.resize((size[1], size[0]), pillow().Resampling.BILINEAR)
    array = torch.from_numpy(np.array(converted)).float() / 255
    return array.unsqueeze(0) if grayscale else array.permute(2, 0, 1)


def check_same(sizes: dict[str, tuple[int, int]]) -> None:
    """Check that all pictures have one size.

    Args:
        sizes: name to width and height.

    Raises:
        ValueError: naming two of other sizes.
    """
    first = next(iter(sizes.items()))
    for name, size in sizes.items():
        if size != first[1]:
            raise ValueError(
                f"Images differ in size: {printable(first[0])} has {first[1][0]} x {first[1][1]} pixels, "
                f"{printable(name)} {size[0]} x {size[1]}. Accepted: images of one size, or size=[height, width] to "
                "resize them to."
            )


def check_size(size: Sequence[int] | None) -> None:
    """Check a height and a width.

    Raises:
        ValueError: naming them.
    """
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise ValueError(f"size={list(size)}; accepted: [height, width], each at least 1.")


def pillow():  # type: ignore[no-untyped-def]  # a module
    """The module ``PIL.Image``.

    Raises:
        ImportError: naming the extra.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("Files of images need Pillow: pip install 'unlearn-pl[vision]'.") from error
    return Image


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and path.is_file() and not path.name.startswith(".")
