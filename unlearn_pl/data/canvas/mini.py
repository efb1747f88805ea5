"""Real digits in procedural styles: a small UnlearnCanvas without a download."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from unlearn_pl.data.canvas.canvas import PROMPT, Canvas
from unlearn_pl.data.canvas.concepts import ConceptRequest
from unlearn_pl.data.canvas.module import SEEDS, CanvasDataModule
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
        prompt: with the placeholders ``{object}`` and ``{style}``.
        sample_seeds: seeds of the noise of the images that are made of each prompt.
        real_per_pair: images of each pair in the split ``real``.
        splits: names of the evaluation splits to load; by default all that there are.
        streams: see :class:`~unlearn_pl.data.StreamDataModule`, like all further arguments.
        batch_size: examples per stream and optimizer step, over all devices.
        micro_batch_size: examples per device and forward.
        eval_batch_size: prompts per device in evaluation.
        num_workers: worker processes per data loader.
        seed: see :class:`~unlearn_pl.data.CanvasDataModule`.

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
        prompt: str = PROMPT,
        sample_seeds: Sequence[int] = SEEDS,
        real_per_pair: int = 25,
        splits: Sequence[str] | None = None,
        streams: Sequence[str] | None = None,
        batch_size: int = 64,
        micro_batch_size: int = 64,
        eval_batch_size: int = 120,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            forget,
            prompt=prompt,
            photo="photo",
            sample_seeds=sample_seeds,
            real_per_pair=real_per_pair,
            splits=splits,
            streams=streams,
            batch_size=batch_size,
            micro_batch_size=micro_batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        if not 1 <= images_per_pair <= 177:
            raise ValueError(f"images_per_pair={images_per_pair}; accepted: 1 to 177.")
        self.images_per_pair = images_per_pair

    def load_canvas(self) -> Canvas:
        """See :meth:`CanvasDataModule.load_canvas`."""
        digits, labels = small_digits()
        images, pairs = [], []
        for style, (_, paint) in enumerate(STYLES.items()):
            for thing in range(len(self.OBJECTS)):
                own = digits[labels == thing][: self.images_per_pair]
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
