"""Real digits in procedural styles: a small UnlearnCanvas without a download."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Unpack

import torch
from torch import Tensor

from unlearn_pl.data.canvas.canvas import Canvas
from unlearn_pl.data.canvas.concepts import ConceptRequest
from unlearn_pl.data.canvas.module import CanvasDataModule
from unlearn_pl.data.canvas.options import CanvasOptions
from unlearn_pl.data.images.dataset import ImagesInMemory


def photo(digit: Tensor) -> Tensor:
    """White on black; ``digit [N, H, W]`` in [0, 1] to ``[N, 3, H, W]``."""
    return digit.unsqueeze(1).expand(-1, 3, -1, -1)


def negative(digit: Tensor) -> Tensor:
    """Black on white."""
    return 1 - photo(digit)


def crimson(digit: Tensor) -> Tensor:
    """Red on dark blue."""
    ink, paper = (torch.tensor(color).view(1, 3, 1, 1) for color in ((1.0, 0.1, 0.2), (0.0, 0.0, 0.4)))
    return digit.unsqueeze(1) * ink + (1 - digit.unsqueeze(1)) * paper


def stripes(digit: Tensor) -> Tensor:
    """White on green stripes."""
    lines = (torch.arange(digit.shape[-1]) % 2).float().expand(digit.shape[-2:])
    paper = torch.stack([torch.zeros_like(lines), 0.6 * lines, torch.zeros_like(lines)])
    return digit.unsqueeze(1) + (1 - digit.unsqueeze(1)) * paper


STYLES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "photo": photo,
    "negative": negative,
    "crimson": crimson,
    "stripes": stripes,
}


class MiniCanvasDataModule(CanvasDataModule):
    """Handwritten digits of 8 x 8 pixels, 0 to 5, in the styles ``photo``, ``negative``, ``crimson`` and ``stripes``.

    The digits come with scikit-learn; every style shows the same ones.

    Attributes:
        WORDS: the words of its prompts that say something, for :class:`~unlearn_pl.models.TinyUNet`.

    Args:
        forget: what is to be forgotten; None for nothing.
        images_per_pair: images of each digit in each style, up to 177.
        skip_per_pair: images that come before these, such as those that a model was trained on.
        options: see :class:`~unlearn_pl.data.CanvasDataModule`; 25 real images of each pair by default.

    Raises:
        ValueError: as :class:`~unlearn_pl.data.CanvasDataModule`; for another number of images.
        ImportError: from ``setup``, without scikit-learn.
    """

    OBJECTS: ClassVar[Sequence[str]] = ("0", "1", "2", "3", "4", "5")
    WORDS: ClassVar[Sequence[str]] = (*STYLES, *OBJECTS)

    def __init__(
        self,
        forget: ConceptRequest | None = None,
        *,
        images_per_pair: int = 100,
        skip_per_pair: int = 0,
        **options: Unpack[CanvasOptions],
    ) -> None:
        super().__init__(forget, photo="photo", **({"real_per_pair": 25} | options))
        if images_per_pair < 1 or skip_per_pair < 0 or skip_per_pair + images_per_pair > 177:
            raise ValueError(
                f"images_per_pair={images_per_pair} and skip_per_pair={skip_per_pair}; accepted: 1 to 177, the two "
                "together."
            )
        self.images_per_pair = images_per_pair
        self.skip_per_pair = skip_per_pair

    def load_canvas(self) -> Canvas:
        """See :meth:`CanvasDataModule.load_canvas`."""
        digits, labels = small_digits()
        images, pairs = [], []
        for style, (_, paint) in enumerate(STYLES.items()):
            for thing in range(len(self.OBJECTS)):
                own = digits[labels == thing][self.skip_per_pair :][: self.images_per_pair]
                images.append(paint(own))
                pairs += [style * len(self.OBJECTS) + thing] * len(own)
        return Canvas(ImagesInMemory(torch.cat(images), torch.tensor(pairs)), list(STYLES), self.OBJECTS)


def small_digits() -> tuple[Tensor, Tensor]:
    """The 1,797 digits of scikit-learn, ``[1797, 8, 8]`` in [0, 1], and their ``[1797]`` labels.

    Raises:
        ImportError: naming the package.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "The digits of MiniCanvasDataModule are part of scikit-learn: pip install 'unlearn_pl[vision]'."
        ) from error
    pixels, labels = load_digits(return_X_y=True)
    return torch.as_tensor(pixels, dtype=torch.float32).view(-1, 8, 8) / 16, torch.as_tensor(labels)
