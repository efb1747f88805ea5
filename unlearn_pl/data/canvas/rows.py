"""UnlearnCanvas, or images of your own in styles, as the rows of a dataset."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from unlearn_pl.data.canvas.canvas import Canvas
from unlearn_pl.data.canvas.concepts import ConceptRequest
from unlearn_pl.data.canvas.module import CanvasDataModule
from unlearn_pl.data.canvas.options import LARGE_IMAGES, CanvasOptions, check_part
from unlearn_pl.data.canvas.unlearn_canvas import PHOTOS
from unlearn_pl.data.images.dataset import LabeledImages
from unlearn_pl.data.images.folder import check_same, check_size, pixels_of, reading
from unlearn_pl.data.io.hub_dataset import HubDataset
from unlearn_pl.data.io.in_memory import rows_of
from unlearn_pl.data.io.recorded_rows import with_described
from unlearn_pl.recording import arguments_of


class CanvasRowsDataModule(CanvasDataModule):
    """Images in the rows of a dataset, each with the names of its style and object, such as UnlearnCanvas on the hub.

    Pictures are decoded when they are needed. The names of the hub's columns are not verified: nothing was downloaded
    here; ``image``, ``style`` and ``object`` say what they are. A folder with the files of a dataset, such as
    ``data/train-00000-of-00153.parquet``, is a ``HubDataset`` of its path.

    Args:
        rows: a dataset of ``datasets``, a :class:`~unlearn_pl.data.HubDataset` such as
            ``HubDataset("OPTML-Group/UnlearnCanvas")``, or rows in memory.
        forget: what is to be forgotten; None for nothing.
        image: column with pictures of Pillow.
        style: column with the names of the styles, or the numbers of classes that have names.
        object: column with those of the objects.
        size: height and width that images are resized to; None to leave them, which decodes all of them at first.
        photo: the style that stands for none.
        images_per_pair: images of each pair that are read, the first by row; None for all.
        skip_per_pair: images of each pair that come before these, such as those that a model was trained on.
        options: see :class:`~unlearn_pl.data.CanvasDataModule`; batches have 4 examples by default, one per forward.

    Raises:
        ValueError: as :class:`~unlearn_pl.data.CanvasDataModule`; from ``setup``, if a column is missing, a name is
            none, there is no style ``photo``, or a pair has too few images.

    References:
        Zhang et al., UnlearnCanvas, NeurIPS 2024, arXiv 2402.11846.
    """

    def __init__(
        self,
        rows: HubDataset | Iterable[Mapping[str, Any]],
        forget: ConceptRequest | None = None,
        *,
        image: str = "image",
        style: str = "style",
        object: str = "object",
        size: Sequence[int] | None = (512, 512),
        photo: str = PHOTOS,
        images_per_pair: int | None = None,
        skip_per_pair: int = 0,
        **options: Unpack[CanvasOptions],
    ) -> None:
        sizes: CanvasOptions = {**LARGE_IMAGES}
        super().__init__(forget, photo=photo, **(sizes | options))
        check_size(size)
        check_part(images_per_pair, skip_per_pair)
        self.rows = rows
        self.image = image
        self.style = style
        self.object = object
        self.size = size
        self.images_per_pair = images_per_pair
        self.skip_per_pair = skip_per_pair

    def recorded_arguments(self) -> dict[str, Any]:
        """The arguments, rows in memory as their number and a SHA-256."""
        return with_described(arguments_of(self), ("rows",))

    def load_canvas(self) -> Canvas:
        """See :meth:`CanvasDataModule.load_canvas`; reads the names, and no picture."""
        table: Any = self.rows.table() if isinstance(self.rows, HubDataset) else self.rows
        table = table if hasattr(table, "select_columns") else list(rows_of(table))
        if not len(table):
            raise ValueError("The given rows are none; accepted: at least one image of each object in each style.")
        _check_columns(table, (self.image, self.style, self.object))
        names = {column: _names(table, column) for column in (self.style, self.object)}
        styles, objects = sorted(set(names[self.style])), sorted(set(names[self.object]))
        if self.photo not in styles:
            raise ValueError(
                f"The column {self.style!r} has no style {self.photo!r}, which stands for none; it has {styles[:60]}. "
                "Accepted: one of these as photo."
            )
        rows_of_pair = defaultdict[tuple[str, str], list[int]](list)
        for row, pair in enumerate(zip(names[self.style], names[self.object], strict=True)):
            rows_of_pair[pair].append(row)
        kept, labels = list[int](), list[int]()
        for label, pair in enumerate((style, thing) for style in styles for thing in objects):
            own = rows_of_pair[pair]
            if len(own) <= self.skip_per_pair:
                raise ValueError(
                    f"The rows hold {len(own)} images of {pair[1]!r} in the style {pair[0]!r}, and "
                    f"skip_per_pair={self.skip_per_pair}; accepted: more than this of every object in every style."
                )
            own = own[self.skip_per_pair :][: self.images_per_pair]
            kept += own
            labels += [label] * len(own)
        return Canvas(ImagesInRows(table, kept, torch.tensor(labels), self.image, self.size), styles, objects)


class ImagesInRows(LabeledImages):
    """Pictures in a column, decoded when they are needed.

    Args:
        table: the rows.
        rows: N numbers of rows.
        labels: ``[N]``.
        column: name of the column.
        size: height and width to resize to; None if all have the same size.
    """

    def __init__(
        self, table: Any, rows: Sequence[int], labels: Tensor, column: str, size: Sequence[int] | None
    ) -> None:
        self.table = table
        self.rows = rows
        self.labels = labels
        self.column = column
        self.size = size
        if size is None:
            check_same({f"row {row}": self._picture(i).size for i, row in enumerate(rows)})

    def image(self, i: int) -> Tensor:
        """See :meth:`LabeledImages.image`."""
        picture = self._picture(i)
        with reading(f"Row {self.rows[i]}"):
            return pixels_of(picture, self.size, grayscale=False)

    def _picture(self, i: int) -> Any:
        with reading(f"Row {self.rows[i]}"):
            found = self.table[self.rows[i]][self.column]
        if not hasattr(found, "convert"):
            raise ValueError(
                f"Row {self.rows[i]} has a {type(found).__name__} as {self.column!r}; accepted: pictures of Pillow, "
                "which columns of the type Image of `datasets` hold."
            )
        return found


def _check_columns(table: Any, wanted: Sequence[str]) -> None:
    columns = list(table.column_names) if hasattr(table, "column_names") else sorted(table[0])
    if missing := [column for column in wanted if column not in columns]:
        raise ValueError(
            f"The rows have no column {missing[0]!r}; they have {columns}. Accepted: these as image, style and object."
        )


def _names(table: Any, column: str) -> list[str]:
    """The names in a column; other columns are not decoded.

    Raises:
        ValueError: if a name is none.
    """
    labels = getattr(getattr(table, "features", {}).get(column), "names", None)
    only = table.select_columns([column]) if hasattr(table, "select_columns") else table
    found = []
    for i, row in enumerate(only):
        value = row.get(column)
        value = labels[value] if labels is not None and isinstance(value, int) else value
        if not isinstance(value, str) or not value:
            raise ValueError(f"Row {i} has {value!r} as {column!r}; accepted: a name, or a class that has one.")
        found.append(value)
    return found
