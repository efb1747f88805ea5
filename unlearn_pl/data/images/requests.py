"""What is to be forgotten of a training set of images: a class, random rows, or rows with wrong labels."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn_pl.data.images.dataset import LabeledImages, Part
from unlearn_pl.recording import Recorded


@dataclass(frozen=True)
class Division:
    """A training set in two parts, and what to test on.

    Attributes:
        forget: what is to be forgotten.
        retain: the rest.
        test: test images of what is to be retained.
        forgotten: test images of what is to be forgotten; None if there are none.
    """

    forget: LabeledImages
    retain: LabeledImages
    test: LabeledImages | None
    forgotten: LabeledImages | None = None


class ForgetRequest(Recorded, ABC):
    """Chooses the images to be forgotten; subclasses implement :meth:`divide`."""

    @abstractmethod
    def divide(self, train: LabeledImages, test: LabeledImages | None) -> Division:
        """The parts of the training and the test set.

        Args:
            train: what the model was trained on.
            test: other images; None if there are none.

        Raises:
            ValueError: if nothing would be forgotten, or nothing retained.
        """


class ForgetClass(ForgetRequest):
    """All images of some classes. Test images of these classes are a split of their own, ``test_forgotten``.

    Args:
        label: number of the class, or numbers of several.
    """

    def __init__(self, label: int | Sequence[int]) -> None:
        self.label = label

    def divide(self, train: LabeledImages, test: LabeledImages | None) -> Division:
        """See :meth:`ForgetRequest.divide`."""
        chosen = torch.tensor([self.label] if isinstance(self.label, int) else list(self.label))
        absent = [label for label in chosen.tolist() if not bool((train.labels == label).any())]
        if absent:
            raise ValueError(
                f"No training image has the label {absent[0]}; accepted: {train.labels.unique().tolist()}."
            )
        forget, retain = _two(train, torch.isin(train.labels, chosen), type(self).__name__)
        if test is None:
            return Division(forget, retain, None)
        of_class = torch.isin(test.labels, chosen)
        parts = [Part(test, rows.nonzero().flatten()) if bool(rows.any()) else None for rows in (~of_class, of_class)]
        return Division(forget, retain, *parts)


class ForgetRandom(ForgetRequest):
    """A random share of the images.

    Args:
        share: of the images, above 0 and below 1.
        seed: of the choice.

    Raises:
        ValueError: for other shares.
    """

    def __init__(self, share: float = 0.1, seed: int = 0) -> None:
        check_share(share)
        self.share = share
        self.seed = seed

    def divide(self, train: LabeledImages, test: LabeledImages | None) -> Division:
        """See :meth:`ForgetRequest.divide`."""
        chosen = random_rows(len(train), self.share, self.seed)
        return Division(*_two(train, chosen, type(self).__name__), test)


class ForgetMislabeled(ForgetRequest):
    """A random share of the images, whose labels are wrong: each is replaced by another class, all equally likely.

    The model to start from is trained on the wrong labels (stream ``train``), and is to forget them.

    Args:
        share: of the images, above 0 and below 1.
        seed: of the choice and of the wrong labels.

    Raises:
        ValueError: for other shares.
    """

    def __init__(self, share: float = 0.1, seed: int = 0) -> None:
        check_share(share)
        self.share = share
        self.seed = seed

    def divide(self, train: LabeledImages, test: LabeledImages | None) -> Division:
        """See :meth:`ForgetRequest.divide`."""
        classes = train.labels.unique()
        if len(classes) < 2:
            raise ValueError("All training images have the same label; accepted are two classes or more.")
        chosen = random_rows(len(train), self.share, self.seed)
        forget, retain = _two(train, chosen, type(self).__name__)
        generator = torch.Generator().manual_seed(self.seed + 1)
        position = torch.searchsorted(classes, forget.labels)
        shift = torch.randint(1, len(classes), (len(forget),), generator=generator)
        wrong = classes[(position + shift) % len(classes)]
        return Division(Part(train, forget.rows, wrong), retain, test)


class ForgetRows(ForgetRequest):
    """Images by their numbers.

    Args:
        rows: positions in the training set.
    """

    def __init__(self, rows: Sequence[int]) -> None:
        self.rows = rows

    def divide(self, train: LabeledImages, test: LabeledImages | None) -> Division:
        """See :meth:`ForgetRequest.divide`."""
        rows = torch.tensor(list(self.rows), dtype=torch.int64)
        if outside := [row for row in rows.tolist() if not 0 <= row < len(train)]:
            raise ValueError(f"rows holds {outside[0]}; accepted: 0 to {len(train) - 1}.")
        chosen = torch.zeros(len(train), dtype=torch.bool)
        chosen[rows] = True
        return Division(*_two(train, chosen, type(self).__name__), test)


def random_rows(length: int, share: float, seed: int) -> Tensor:
    """``[length]`` bool, True for a random share of the rows, at least one."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.zeros(length, dtype=torch.bool)
    chosen[torch.randperm(length, generator=generator)[: max(1, round(share * length))]] = True
    return chosen


def check_share(share: float) -> None:
    """Check a share of examples.

    Raises:
        ValueError: naming it.
    """
    if not 0 < share < 1:
        raise ValueError(f"share={share}; accepted: above 0 and below 1.")


def _two(train: LabeledImages, chosen: Tensor, request: str) -> tuple[Part, Part]:
    if not bool(chosen.any()) or bool(chosen.all()):
        part = "all of them" if bool(chosen.any()) else "none"
        raise ValueError(f"{request} chooses {part} of {len(train)} images; accepted: some to forget, some to retain.")
    return Part(train, chosen.nonzero().flatten()), Part(train, (~chosen).nonzero().flatten())
