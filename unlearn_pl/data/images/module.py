"""Data module of labeled images."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from torch.utils.data import DataLoader

from unlearn_pl.data.images.arrays import ImageFile
from unlearn_pl.data.images.dataset import ImageSource, JoinedImages, LabeledImages, check_equal_sizes, collate_images
from unlearn_pl.data.images.folder import ImageFolder
from unlearn_pl.data.images.requests import Division, ForgetRequest
from unlearn_pl.data.selection.selected_source import SelectedSource
from unlearn_pl.data.stream_module import BatchOf, StreamDataModule, check_names, select
from unlearn_pl.types import Batch

ImagesLike = str | ImageSource | Path
"""Images: the path of an ``.npz`` file or of a folder with a folder per class, or a source."""


class ImageDataModule(StreamDataModule):
    """Images with a class each, some of which are to be forgotten.

    What is to be forgotten is a part of the training set, or a set of its own::

        ImageDataModule(train="digits/train.npz", test="digits/test.npz", forget=ForgetClass(3))
        ImageDataModule(forget="photos/withdrawn", retain="photos/other", test="photos/test")

    Training streams: ``forget``, ``retain``, ``train`` (both, for the model to start from) and ``holdout``. Evaluation
    splits: ``forget``, ``retain``, ``test`` (without the forgotten classes), ``test_forgotten`` (test images of
    forgotten classes) and ``holdout``. Checkpoints and results hold the number and a SHA-256 of images in memory.

    Args:
        forget: which images of ``train`` are to be forgotten, or these images themselves; None for none.
        train: the whole training set, if ``forget`` is a request or None.
        retain: the images to be retained, if ``forget`` are images.
        test: images that no model is trained on.
        holdout: further such images, for goals with ``level: holdout``; None for no such stream and split.
        splits: names of the evaluation splits to load; by default all that there are.
        num_classes: number of classes of the model, to check labels before training; None to leave it to the model.
        streams: see :class:`~unlearn_pl.data.StreamDataModule`, like all further arguments.
        batch_size: examples per stream and optimizer step, over all devices.
        micro_batch_size: examples per device and forward.
        eval_batch_size: examples per device in evaluation.
        num_workers: worker processes per data loader.
        seed: seed of the order of the examples, and of the random numbers of their losses.

    Raises:
        ValueError: if the sets do not fit together; from ``setup``, if something cannot be read, images differ in size,
            or a label is out of range.
    """

    def __init__(
        self,
        forget: ForgetRequest | ImagesLike | None = None,
        *,
        train: ImagesLike | None = None,
        retain: ImagesLike | None = None,
        test: ImagesLike | None = None,
        holdout: ImagesLike | None = None,
        splits: Sequence[str] | None = None,
        num_classes: int | None = None,
        streams: Sequence[str] | None = None,
        selected: Mapping[str, SelectedSource] | None = None,
        batch_size: int = 64,
        micro_batch_size: int = 64,
        eval_batch_size: int = 256,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            streams=streams,
            selected=selected,
            batch_size=batch_size,
            micro_batch_size=micro_batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        check_names(splits=splits)
        _check_sets(forget, train, retain)
        self.forget = forget
        self.train = train
        self.retain = retain
        self.test = test
        self.holdout = holdout
        self.splits = splits
        self.num_classes = num_classes

    def load_streams(self) -> Mapping[str, LabeledImages]:
        """The training streams that the given sets provide."""
        names = ("forget", "retain", "train", "holdout")
        return {name: self.sets[name] for name in names if name in self.sets}

    def load_splits(self) -> Mapping[str, LabeledImages]:
        """The evaluation splits that the given sets provide."""
        names = ("forget", "retain", "test", "test_forgotten", "holdout")
        return {name: self.sets[name] for name in names if name in self.sets}

    @cached_property
    def sets(self) -> Mapping[str, LabeledImages]:
        """All sets by name, read once and checked."""
        given = {"train": self.train, "retain": self.retain, "test": self.test, "holdout": self.holdout}
        if not isinstance(self.forget, ForgetRequest):
            given["forget"] = self.forget
        loaded = {name: source_of(images).load() for name, images in given.items() if images is not None}
        for name, images in loaded.items():
            self._check_labels(name, images)
        check_equal_sizes(list(loaded.values()))
        if isinstance(self.forget, ForgetRequest):
            loaded |= _named(self.forget.divide(loaded["train"], loaded.get("test")))
        if isinstance(self.forget, ForgetRequest) or "train" not in loaded:
            loaded["train"] = JoinedImages([loaded[name] for name in ("forget", "retain") if name in loaded])
        return loaded

    def question_hashes(self) -> dict[str, dict[int, str]]:
        """Evaluation split to index of the image to a hash of its pixels and label."""
        return {
            name: {i: images.hash_of(i)[:8] for i in range(len(images))} for name, images in self._evaluation.items()
        }

    def stream_fingerprint(self, stream: str) -> str:
        """SHA-256 of the images and labels of ``stream``."""
        return self.sets[stream].fingerprint()

    def sample(self, name: str, size: int) -> list[Batch]:
        """See :meth:`StreamProvider.sample`."""
        if name in self._sources:
            return super().sample(name, size)
        images = select(self.load_splits(), [name], "splits")[name]
        return self._micro_batches(name, len(images), size, BatchOf(images, collate_images, takes_draws=False))

    def setup(self, stage: str | None = None) -> None:
        """Loads what ``stage`` needs, so that errors surface before training starts."""
        super().setup(stage)
        _ = self._evaluation

    def val_dataloader(self) -> dict[str, DataLoader]:
        """A loader of images (:class:`~unlearn_pl.types.ImageBatch`) per split."""
        return {name: self._eval_loader(images, collate_images) for name, images in self._evaluation.items()}

    test_dataloader = val_dataloader

    @cached_property
    def _evaluation(self) -> Mapping[str, LabeledImages]:
        return select(self.load_splits(), self.splits, "splits")

    def _batch_maker(self, dataset: LabeledImages) -> BatchOf:
        # Not self.collate: the data module is not sent to worker processes.
        return BatchOf(dataset, collate_images, takes_draws=False)

    def _check_labels(self, name: str, images: LabeledImages) -> None:
        if not len(images):
            raise ValueError(f"The set {name!r} is empty: it has no images.")
        if self.num_classes is not None and int(images.labels.max()) >= self.num_classes:
            raise ValueError(
                f"The set {name!r} has the label {int(images.labels.max())}; accepted: 0 to {self.num_classes - 1}, "
                f"since num_classes={self.num_classes}."
            )


def source_of(images: ImagesLike) -> ImageSource:
    """The source that ``images`` stand for.

    Raises:
        ValueError: if a path is neither an ``.npz`` file nor a folder.
    """
    if isinstance(images, ImageSource):
        return images
    if isinstance(images, str | Path) and str(images).endswith(".npz"):
        return ImageFile(str(images))
    if isinstance(images, str | Path) and Path(images).is_dir():
        return ImageFolder(str(images))
    raise ValueError(
        f"images are {images!r}; accepted: an .npz file, a folder with a folder per class, or a source such as "
        "ImageArrays(images, labels) or ImageRows(dataset)."
    )


def _named(division: Division) -> dict[str, LabeledImages]:
    parts = {
        "forget": division.forget,
        "retain": division.retain,
        "test": division.test,
        "test_forgotten": division.forgotten,
    }
    return {name: part for name, part in parts.items() if part is not None}


def _check_sets(forget: ForgetRequest | ImagesLike | None, train: ImagesLike | None, retain: ImagesLike | None) -> None:
    if isinstance(forget, ForgetRequest):
        if train is None or retain is not None:
            raise ValueError(f"{type(forget).__name__} chooses images of train; give train, and no retain.")
    elif forget is None and train is None and retain is None:
        raise ValueError("There are no images to train on; give forget and retain, or train.")
    elif train is not None and (retain is not None or forget is not None):
        raise ValueError("train is the whole training set; give it alone or with a request such as ForgetClass(3).")
