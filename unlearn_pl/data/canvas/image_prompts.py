"""Data module of a user's own images with captions."""

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Unpack

import torch

from unlearn_pl.data.arguments import check_names
from unlearn_pl.data.canvas.dataset import PromptedImages, PromptsToSample
from unlearn_pl.data.canvas.module import SEEDS
from unlearn_pl.data.canvas.options import LARGE_IMAGES, StreamOptions
from unlearn_pl.data.canvas.prompted_module import PromptedDataModule
from unlearn_pl.data.images.folder import ImageFiles, check_size
from unlearn_pl.data.io.contained import check_contained
from unlearn_pl.data.io.record import BadRowError, Record
from unlearn_pl.data.io.rows import read_records

CAPTIONS = "metadata.jsonl"


class ImagePromptDataModule(PromptedDataModule):
    """Folders of images with captions: ``metadata.jsonl`` beside them, a line ``{"file_name": ..., "text": ...}`` each.

    Training streams are ``forget``, ``retain`` and ``train`` (both); evaluation splits are the captions of ``forget``
    and ``retain``, each once, of which images are made.

    Args:
        forget: folder of images to be forgotten; None for none.
        retain: folder of images to be retained.
        pseudo_prompt: what the forgotten captions are to mean instead; a line may have its own, as ``pseudo_text``.
        size: height and width that images are resized to; None if all have the same size.
        sample_seeds: seeds of the noise of the images that are made of each caption.
        splits: names of the evaluation splits to load; by default all that there are.
        options: see :class:`~unlearn_pl.data.StreamDataModule`; batches have 4 examples by default, one per forward.

    Raises:
        ValueError: from ``setup``, if a folder or its captions are missing, or a line is broken.
    """

    def __init__(
        self,
        forget: str | None = None,
        retain: str | None = None,
        *,
        pseudo_prompt: str = "",
        size: Sequence[int] | None = None,
        sample_seeds: Sequence[int] = SEEDS[:1],
        splits: Sequence[str] | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        super().__init__(**(LARGE_IMAGES | options))
        check_names(splits=splits)
        check_size(size)
        if forget is None and retain is None:
            raise ValueError("There are no images; give a folder as forget, as retain, or both.")
        if not sample_seeds or min(sample_seeds) < 0:
            raise ValueError(f"sample_seeds={list(sample_seeds)}; accepted: at least one, none of them negative.")
        self.forget = forget
        self.retain = retain
        self.pseudo_prompt = pseudo_prompt
        self.size = size
        self.sample_seeds = sample_seeds
        self.splits = splits

    def load_streams(self) -> Mapping[str, PromptedImages]:
        """``forget``, ``retain`` and ``train``."""
        return self._streams

    @cached_property
    def _streams(self) -> Mapping[str, PromptedImages]:
        given = {"forget": self.forget, "retain": self.retain}
        lines = {name: self._lines(Path(folder)) for name, folder in given.items() if folder is not None}
        lines["train"] = [line for own in lines.values() for line in own]
        return {name: self._prompted(own) for name, own in lines.items()}

    def load_splits(self) -> Mapping[str, PromptsToSample]:
        """The captions of each folder."""
        found = {}
        for name in ("forget", "retain"):
            if name in self._streams:
                prompts = list(dict.fromkeys(self._streams[name].prompts))
                repeated = [prompt for prompt in prompts for _ in self.sample_seeds]
                found[name] = PromptsToSample(repeated, torch.tensor(self.sample_seeds).repeat(len(prompts)))
        return found

    def _prompted(self, lines: Sequence[tuple[Path, str, str]]) -> PromptedImages:
        files, prompts, pseudo = [line[0] for line in lines], [line[1] for line in lines], [line[2] for line in lines]
        images = ImageFiles(files, torch.zeros(len(files), dtype=torch.int64), (), self.size, False)
        return PromptedImages(images, prompts, pseudo)

    def _lines(self, folder: Path) -> list[tuple[Path, str, str]]:
        """File, caption and pseudo prompt of each line."""
        captions = folder / CAPTIONS
        if not captions.is_file():
            raise ValueError(
                f"There is no file {str(captions)!r}; accepted: a folder with images and {CAPTIONS}, a line "
                '{"file_name": "1.jpg", "text": "A red bridge."} for each.'
            )
        return read_records(captions, partial(self._line, folder), f"captions in {folder}")

    def _line(self, folder: Path, row: Record) -> tuple[Path, str, str]:
        name, text, pseudo = row.get("file_name"), row.get("text"), row.get("pseudo_text", self.pseudo_prompt)
        if not (isinstance(name, str) and isinstance(text, str) and isinstance(pseudo, str) and name and text):
            raise BadRowError(
                f"it is {str(dict(row))[:80]!r}; accepted: an object with the texts file_name and text, and perhaps "
                "pseudo_text"
            )
        try:
            file = check_contained(folder / name, folder)
            is_file = file.is_file()
        except (OSError, ValueError) as error:  # a name that is too long, or leads elsewhere
            raise BadRowError(str(error)) from error
        if not is_file:
            raise BadRowError(f"it names {name!r}, and there is no such file in {str(folder)!r}")
        return file, text, pseudo
