"""Arguments that data modules of images with prompts pass on."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

from unlearn_pl.data.selection.selected_source import SelectedSource


class StreamOptions(TypedDict, total=False):
    """The arguments of :class:`~unlearn_pl.data.StreamDataModule`.

    Attributes:
        streams: names of the training streams to load; by default those that the module's objectives read.
        batch_size: examples per stream and optimizer step, over all devices.
        micro_batch_size: examples per device and forward.
        eval_batch_size: prompts per device in evaluation.
        num_workers: worker processes per data loader.
        seed: seed of the order of the examples, and of their noise and timesteps.
        selected: name of a stream to the part of a stream that it holds.
    """

    streams: Sequence[str] | None
    batch_size: int
    micro_batch_size: int
    eval_batch_size: int
    num_workers: int
    seed: int
    selected: Mapping[str, SelectedSource] | None


class CanvasOptions(StreamOptions, total=False):
    """Those of :class:`~unlearn_pl.data.CanvasDataModule`.

    Attributes:
        prompt: with the placeholders ``{object}`` and ``{style}``.
        sample_seeds: seeds of the noise of the images that are made of each prompt.
        real_per_pair: images of each pair in the split ``real``.
        splits: names of the evaluation splits to load; by default all that there are.
    """

    prompt: str
    sample_seeds: Sequence[int]
    real_per_pair: int
    splits: Sequence[str] | None


LARGE_IMAGES: StreamOptions = {"batch_size": 4, "micro_batch_size": 1, "eval_batch_size": 4}
"""Sizes of batches where images have hundreds of pixels a side."""


def check_part(images_per_pair: int | None, skip_per_pair: int) -> None:
    """Check which images of each pair are taken.

    Args:
        images_per_pair: their number; None for all.
        skip_per_pair: those that come before them.

    Raises:
        ValueError: naming both.
    """
    if skip_per_pair < 0 or (images_per_pair is not None and images_per_pair < 1):
        raise ValueError(
            f"images_per_pair={images_per_pair} and skip_per_pair={skip_per_pair}; accepted: at least 1, or None for "
            "all, and 0 or more."
        )
