"""Images in rows: a dataset of ``datasets``, of the hub or in memory."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unlearn_pl.data.images.arrays import labels_of
from unlearn_pl.data.images.dataset import ImagesInMemory, ImageSource, LabeledImages
from unlearn_pl.data.images.folder import check_same, check_size, pixels_of, reading
from unlearn_pl.data.io.hub_dataset import HubDataset
from unlearn_pl.data.io.in_memory import rows_of
from unlearn_pl.data.io.recorded_rows import with_described
from unlearn_pl.recording import arguments_of


class ImageRows(ImageSource):
    """Images in the rows of a dataset; they are decoded once and kept in memory, a byte per channel and pixel.

    Args:
        rows: a dataset of ``datasets``, a :class:`~unlearn_pl.data.HubDataset`, or rows in memory.
        image: column with pictures of Pillow, or arrays ``[H, W]`` or ``[H, W, C]`` of integers from 0 to 255.
        label: column with the numbers of the classes.
        size: height and width to resize pictures to; None if all have the same size.
        grayscale: whether to read one channel of pictures instead of three.

    Raises:
        ValueError: from :meth:`load`, if a column is missing, images differ in size, or a label is no class.
    """

    def __init__(
        self,
        rows: HubDataset | Iterable[Mapping[str, Any]],
        image: str = "image",
        label: str = "label",
        size: Sequence[int] | None = None,
        grayscale: bool = False,
    ) -> None:
        check_size(size)
        self.rows = rows
        self.image = image
        self.label = label
        self.size = size
        self.grayscale = grayscale

    def load(self) -> LabeledImages:
        """See :meth:`ImageSource.load`."""
        given: Any = self.rows.rows() if isinstance(self.rows, HubDataset) else rows_of(self.rows)
        pixels, labels, sizes = [], [], {}
        for i, row in _numbered(given):
            if missing := [name for name in (self.image, self.label) if name not in row]:
                raise ValueError(f"Row {i} has no columns {missing}; it has {sorted(row)}.")
            picture = self._pixels(row[self.image], i)
            sizes[f"row {i}"] = (picture.shape[2], picture.shape[1])
            pixels.append(picture)
            labels.append(row[self.label])
        if not pixels:
            raise ValueError("The given rows are none; accepted: at least one image.")
        check_same(sizes)
        names = getattr(getattr(self.rows, "features", {}).get(self.label), "names", None)
        return ImagesInMemory(torch.stack(pixels), labels_of(labels), names or ())

    def recorded_arguments(self) -> dict[str, Any]:
        """The arguments, rows in memory as their number and a SHA-256."""
        return with_described(arguments_of(self), ("rows",))

    def _pixels(self, given: Any, i: int) -> Tensor:
        """``[C, H, W]`` uint8."""
        if hasattr(given, "convert"):  # a picture of Pillow
            with reading(f"Row {i}"):
                return (pixels_of(given, self.size, self.grayscale) * 255).round().to(torch.uint8)
        array = np.asarray(given)
        if (
            array.ndim not in (2, 3)
            or not np.issubdtype(array.dtype, np.integer)
            or array.min() < 0
            or array.max() > 255
        ):
            raise ValueError(
                f"Row {i} holds an image of {array.dtype} and shape {list(array.shape)}; accepted: pictures, and "
                "integers from 0 to 255 of shape [H, W] or [H, W, C]."
            )
        if self.size is not None and array.shape[:2] != tuple(self.size):
            raise ValueError(
                f"Row {i} is an array of {list(array.shape)}; size={list(self.size)} resizes pictures only."
            )
        tensor = torch.from_numpy(array.astype(np.uint8))
        return tensor.unsqueeze(0) if tensor.ndim == 2 else tensor.permute(2, 0, 1)


def _numbered(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows with their numbers; `datasets` decodes a row's picture when the row is read."""
    following = iter(rows)
    for i in itertools.count():
        with reading(f"Row {i}"):
            row = next(following, None)
        if row is None:
            return
        yield i, row
