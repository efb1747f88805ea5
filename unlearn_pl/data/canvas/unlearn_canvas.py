"""UnlearnCanvas: 20 objects in 50 styles, and photos of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import torch

from unlearn_pl.data.canvas.canvas import Canvas
from unlearn_pl.data.canvas.concepts import ConceptRequest
from unlearn_pl.data.canvas.module import CanvasDataModule
from unlearn_pl.data.canvas.options import LARGE_IMAGES, CanvasOptions, check_part
from unlearn_pl.data.images.folder import ENDINGS, ImageFiles, check_size, opened
from unlearn_pl.data.io.contained import check_contained

PHOTOS = "Seed_Images"


class UnlearnCanvasDataModule(CanvasDataModule):
    """Files of the benchmark, ``<path>/<style>/<object>/<number>.jpg``, with the prompts and seeds of its authors.

    A folder of your own in this layout works as well. Images are read on demand with Pillow (the extra ``vision``);
    they may be resized, but are not cropped.

    Args:
        path: the folder with a folder per style.
        forget: what is to be forgotten; None for nothing.
        size: height and width that images are resized to; None to leave them.
        photo: the folder of photos, the style that stands for none.
        styles: names of the styles to read; by default all folders. The photos are always read.
        images_per_pair: images of each pair that are read, the first by number; None for all.
        skip_per_pair: images of each pair that come before these, such as those that a model was trained on.
        options: see :class:`~unlearn_pl.data.CanvasDataModule`; batches have 4 examples by default, one per forward.

    Raises:
        ValueError: as :class:`~unlearn_pl.data.CanvasDataModule`; from ``setup``, if a folder is missing, an object is
            missing in a style, or a file is no image.

    References:
        Zhang et al., UnlearnCanvas, NeurIPS 2024, arXiv 2402.11846.
    """

    def __init__(
        self,
        path: str,
        forget: ConceptRequest | None = None,
        *,
        size: Sequence[int] | None = (512, 512),
        photo: str = PHOTOS,
        styles: Sequence[str] | None = None,
        images_per_pair: int | None = None,
        skip_per_pair: int = 0,
        **options: Unpack[CanvasOptions],
    ) -> None:
        sizes: CanvasOptions = {**LARGE_IMAGES}
        super().__init__(forget, photo=photo, **(sizes | options))
        check_size(size)
        check_part(images_per_pair, skip_per_pair)
        self.path = path
        self.size = size
        self.styles = styles
        self.images_per_pair = images_per_pair
        self.skip_per_pair = skip_per_pair

    def load_canvas(self) -> Canvas:
        """See :meth:`CanvasDataModule.load_canvas`; reads the headers of all files."""
        root = Path(self.path)
        styles = self._styles(root)
        objects = _folders(root / styles[0])
        files: list[Path] = []
        labels: list[int] = []
        for i, style in enumerate(styles):
            found = _folders(root / style)
            if found != objects:
                differing = sorted({*found} ^ {*objects})
                raise ValueError(
                    f"The style {style!r} has other objects than {styles[0]!r}: {differing[:5]} are not in both. "
                    "Accepted: the same folders of objects in every style."
                )
            for j, thing in enumerate(objects):
                own = self._images(root / style / thing)
                files += [check_contained(file, root) for file in own]
                labels += [i * len(objects) + j] * len(own)
        for file in files:
            opened(file).close()  # what is no image is named before training
        return Canvas(ImageFiles(files, torch.tensor(labels), (), self.size, False), styles, objects)

    def _images(self, folder: Path) -> list[Path]:
        found = _images(folder)
        if len(found) <= self.skip_per_pair:
            raise ValueError(
                f"The folder {str(folder)!r} has {len(found)} images, of which skip_per_pair={self.skip_per_pair} "
                "leaves none; accepted: a smaller number."
            )
        return found[self.skip_per_pair :][: self.images_per_pair]

    def _styles(self, root: Path) -> list[str]:
        if not root.is_dir():
            raise ValueError(f"There is no folder {self.path!r}; accepted: one with <style>/<object>/<number>.jpg.")
        found = _folders(root)
        if self.photo not in found:
            raise ValueError(
                f"The folder {self.path!r} has no style {self.photo!r}, which stands for none; it has {found[:60]}. "
                "Accepted: one of these as photo."
            )
        if self.styles is None:
            return found
        if missing := [style for style in self.styles if style not in found]:
            raise ValueError(f"The folder {self.path!r} has no style {missing[0]!r}; it has {found[:60]}.")
        return [style for style in found if style in self.styles or style == self.photo]


def _folders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    """The images in a folder, in the order of their numbers."""
    found = [file for file in folder.iterdir() if file.suffix.lower() in ENDINGS and not file.name.startswith(".")]
    if not found:
        raise ValueError(f"The folder {str(folder)!r} has no images; accepted endings: {ENDINGS}.")
    return sorted(found, key=lambda file: (not file.stem.isdecimal(), file.stem.zfill(12), file.name))
