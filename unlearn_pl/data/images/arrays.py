"""Images in arrays and tensors, in memory or in a file of NumPy."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unlearn_pl.data.images.dataset import ImagesInMemory, ImageSource, LabeledImages
from unlearn_pl.recording import UNRECORDABLE, arguments_of


class ImageArrays(ImageSource):
    """Images and labels in memory.

    Args:
        images: ``[N, H, W]`` or ``[N, C, H, W]`` (``[N, H, W, C]`` with ``channels_last``), an array or a tensor;
            integers from 0 to 255, which are divided by 255, or finite floating numbers, which are taken as they are.
        labels: ``[N]`` integers, the classes.
        classes: names of the classes.
        channels_last: whether the last axis of ``images`` holds the channels.

    Raises:
        ValueError: from :meth:`load`, for other shapes and types, images that are not finite, and labels that are
            negative or no integers.
    """

    def __init__(self, images: Any, labels: Any, classes: Sequence[str] = (), channels_last: bool = False) -> None:
        self.images = images
        self.labels = labels
        self.classes = classes
        self.channels_last = channels_last

    def load(self) -> LabeledImages:
        """See :meth:`ImageSource.load`."""
        labels = labels_of(self.labels)
        images = _pixels(self.images, self.channels_last)
        if len(images) != len(labels):
            raise ValueError(f"There are {len(images)} images and {len(labels)} labels; accepted: one label per image.")
        if self.classes and len(labels) and int(labels.max()) >= len(self.classes):
            raise ValueError(
                f"Label {int(labels.max())} has no name: there are {len(self.classes)} classes, so that labels from 0 "
                f"to {len(self.classes) - 1} are accepted."
            )
        return ImagesInMemory(images, labels, self.classes)

    def recorded_arguments(self) -> dict[str, Any]:
        """The arguments without the data, of which the number and a SHA-256 are kept."""
        loaded = self.load()
        described = {UNRECORDABLE: f"{len(loaded)} images in memory, SHA-256 {loaded.fingerprint()}"}
        return {**arguments_of(self), "images": described, "labels": described}


class ImageFile(ImageSource):
    """Images and labels in an ``.npz`` file of NumPy, which is read without pickle.

    Args:
        path: the file, with the arrays ``images`` and ``labels``; see :class:`ImageArrays` for their shapes.
        images: name of the array with the images.
        labels: name of the array with the labels.
        channels_last: whether the last axis of the images holds the channels.

    Raises:
        ValueError: from :meth:`load`, if there is no such file or array, or it cannot be read; and as
            :class:`ImageArrays`.
    """

    def __init__(self, path: str, images: str = "images", labels: str = "labels", channels_last: bool = False) -> None:
        self.path = path
        self.images = images
        self.labels = labels
        self.channels_last = channels_last

    def load(self) -> LabeledImages:
        """See :meth:`ImageSource.load`."""
        arrays = self._arrays()
        if missing := [name for name in (self.images, self.labels) if name not in arrays]:
            raise ValueError(f"{self.path} has no arrays {missing}; it has {list(arrays)}.")
        return ImageArrays(arrays[self.images], arrays[self.labels], channels_last=self.channels_last).load()

    def _arrays(self) -> dict[str, Any]:
        """Name to array; arrays that are not read are None."""
        if not Path(self.path).is_file():
            raise ValueError(f"There is no file {self.path!r}; accepted: an .npz file of NumPy.")
        try:
            with np.load(self.path, allow_pickle=False) as file:
                read = (self.images, self.labels)
                return {name: file[name] if name in read else None for name in file.files}
        except (OSError, ValueError, zipfile.BadZipFile, EOFError, AttributeError, TypeError) as error:
            raise ValueError(f"{self.path!r} is no .npz file of NumPy without pickled objects: {error}") from error


def labels_of(labels: Any) -> Tensor:
    """``[N]`` int64, checked.

    Raises:
        ValueError: if they are no integers, negative, or have another shape.
    """
    tensor = torch.as_tensor(np.asarray(labels) if isinstance(labels, list | tuple) else labels)
    if tensor.ndim != 1:
        raise ValueError(f"labels have the shape {list(tensor.shape)}; accepted: [N].")
    if len(tensor) and (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool):
        raise ValueError(f"labels are {tensor.dtype}; accepted: integers, the numbers of the classes.")
    if len(tensor) and int(tensor.min()) < 0:
        raise ValueError(f"Label {int(tensor.min())} is negative; accepted: 0 and above.")
    return tensor.to(torch.int64)


def _pixels(images: Any, channels_last: bool) -> Tensor:
    """``[N, C, H, W]``, uint8 or floating."""
    try:
        tensor = torch.as_tensor(np.asarray(images) if isinstance(images, list | tuple) else images)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"images cannot be an array: {error}. Accepted: images of equal size, as numbers. See ImageFolder(..., "
            "size=...) for files of different sizes."
        ) from error
    if tensor.ndim == 3:
        tensor = tensor.unsqueeze(1)
    elif tensor.ndim == 4 and channels_last:
        tensor = tensor.permute(0, 3, 1, 2)
    if tensor.ndim != 4 or not all(tensor.shape[1:]):
        raise ValueError(f"images have the shape {list(tensor.shape)}; accepted: [N, H, W] and [N, C, H, W].")
    if tensor.shape[1] > 4:
        raise ValueError(
            f"images have {tensor.shape[1]} channels; accepted are up to 4, on the second axis, or on the last one "
            "with channels_last=True."
        )
    if tensor.is_floating_point():
        if not bool(tensor.isfinite().all()):
            raise ValueError("Some pixels are NaN or infinite; accepted: finite numbers.")
        return tensor.float()
    if tensor.dtype not in (torch.uint8, torch.int16, torch.int32, torch.int64):
        raise ValueError(f"images are {tensor.dtype}; accepted: integers from 0 to 255, and floating numbers.")
    if tensor.numel() and not (int(tensor.min()) >= 0 and int(tensor.max()) <= 255):
        raise ValueError(
            f"Pixels reach from {int(tensor.min())} to {int(tensor.max())}; accepted: integers from 0 to 255, and "
            "floating numbers."
        )
    return tensor.to(torch.uint8)
