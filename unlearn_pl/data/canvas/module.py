"""Data module of styles and objects."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from random import Random
from typing import Unpack

import torch
from torch import Tensor

from unlearn_pl.data.arguments import check_names
from unlearn_pl.data.canvas.canvas import PROMPT, Canvas, check_prompt, described
from unlearn_pl.data.canvas.concepts import KINDS, ConceptRequest, number_of
from unlearn_pl.data.canvas.dataset import PromptedImages, PromptsToSample
from unlearn_pl.data.canvas.options import StreamOptions
from unlearn_pl.data.canvas.prompted_module import PromptedDataModule
from unlearn_pl.data.images.dataset import Part

SEEDS = (188, 288, 588, 688, 888)
"""The seeds of UnlearnCanvas."""


class CanvasDataModule(PromptedDataModule):
    """Objects in styles, one of which is to be forgotten; subclasses implement :meth:`load_canvas`.

    Training streams: ``forget``, ``retain``, and ``train`` (both). Evaluation splits are prompts of all pairs of style
    and object, with each seed: ``forget``, ``retain`` and, where a pair is forgotten, ``same_style`` and
    ``same_object``, which are then no part of ``retain``; and ``real``, images of the retain set to compare with.
    Without ``forget``, there are only ``train``, ``retain`` (all pairs) and ``real``.

    Args:
        forget: what is to be forgotten; None for nothing.
        prompt: with the placeholders ``{object}`` and ``{style}``.
        photo: the style that stands for none: prompts of a forgotten style are to mean it.
        sample_seeds: seeds of the noise of the images that are made of each prompt.
        real_per_pair: images of each pair in the split ``real``.
        splits: names of the evaluation splits to load; by default all that there are.
        options: see :class:`~unlearn_pl.data.StreamDataModule`; batches have 64 examples by default, and 120 prompts in
            evaluation. The seed also decides what stands for what is forgotten.

    Raises:
        ValueError: for a placeholder that is unknown; from ``setup``, for a style or object that there is not.
    """

    def __init__(
        self,
        forget: ConceptRequest | None = None,
        *,
        prompt: str = PROMPT,
        photo: str,
        sample_seeds: Sequence[int] = SEEDS,
        real_per_pair: int = 5,
        splits: Sequence[str] | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        super().__init__(**({"batch_size": 64, "micro_batch_size": 64, "eval_batch_size": 120} | options))
        check_prompt(prompt)
        check_names(splits=splits)
        if not sample_seeds or min(sample_seeds) < 0 or real_per_pair < 0:
            raise ValueError(
                f"sample_seeds={list(sample_seeds)} and real_per_pair={real_per_pair}; accepted: at least one seed, "
                "none of them negative, and 0 or more."
            )
        self.forget = forget
        self.prompt = prompt
        self.photo = photo
        self.sample_seeds = sample_seeds
        self.real_per_pair = real_per_pair
        self.splits = splits

    @abstractmethod
    def load_canvas(self) -> Canvas:
        """The images."""

    @cached_property
    def canvas(self) -> Canvas:
        """The images, read once."""
        return self.load_canvas()

    @cached_property
    def forgotten(self) -> Tensor:
        """``[styles, objects]`` bool, True for the pairs that are to be forgotten.

        Raises:
            ValueError: if these are none or all of them.
        """
        canvas = self.canvas
        number_of(self.photo, canvas.styles, "style")
        if self.forget is None:
            return torch.zeros(len(canvas.styles), len(canvas.objects), dtype=torch.bool)
        chosen = self.forget.chosen(canvas)
        if bool(chosen.all()):
            raise ValueError(
                f"{type(self.forget).__name__} chooses all pairs of style and object, so none is retained."
            )
        return chosen

    def load_streams(self) -> Mapping[str, PromptedImages]:
        """``forget``, ``retain`` and ``train``."""
        return self._streams

    @cached_property
    def _streams(self) -> Mapping[str, PromptedImages]:
        forgotten = self.forgotten.flatten()[self.canvas.images.labels]
        rows = {"forget": forgotten, "retain": ~forgotten, "train": torch.ones_like(forgotten)}
        return {name: self._prompted(chosen.nonzero().flatten()) for name, chosen in rows.items() if bool(chosen.any())}

    def load_splits(self) -> Mapping[str, PromptsToSample | PromptedImages]:
        """``forget``, ``retain``, ``same_style``, ``same_object`` and ``real``, as far as there are such."""
        forgotten, splits = self.forgotten, dict[str, Tensor]()
        rest = ~forgotten
        if self.forget is not None:
            splits["forget"] = forgotten
        if self.forget is not None and self.forget.kind == "pair":
            splits["same_style"] = forgotten.any(dim=1, keepdim=True).expand_as(rest) & rest
            splits["same_object"] = forgotten.any(dim=0, keepdim=True).expand_as(rest) & rest
            rest = rest & ~splits["same_style"] & ~splits["same_object"]
        splits["retain"] = rest
        found: dict[str, PromptsToSample | PromptedImages] = {
            name: self._to_sample(pairs.flatten().nonzero().flatten()) for name, pairs in splits.items()
        }
        if self.real_per_pair:
            found["real"] = self._prompted(self._real_rows())
        return {name: rows for name, rows in found.items() if len(rows)}

    def _prompted(self, rows: Tensor) -> PromptedImages:
        pairs = self.canvas.images.labels[rows].tolist()
        prompts = [self._text(pair) for pair in pairs]
        pseudo: list[str] = []
        if self.forget is not None:
            forgotten = self.forgotten.flatten()
            pseudo = [
                self._text(self._instead(pair, row)) if forgotten[pair] else prompt
                for pair, row, prompt in zip(pairs, rows.tolist(), prompts, strict=True)
            ]
        return PromptedImages(Part(self.canvas.images, rows), prompts, pseudo, self._numbers(torch.tensor(pairs)))

    def _to_sample(self, pairs: Tensor) -> PromptsToSample:
        each = len(self.sample_seeds)
        repeated = pairs.repeat_interleave(each)
        prompts = [self._text(pair) for pair in repeated.tolist()]
        return PromptsToSample(prompts, torch.tensor(self.sample_seeds).repeat(len(pairs)), self._numbers(repeated))

    def _real_rows(self) -> Tensor:
        """The first images of each pair that is retained."""
        labels, forgotten = self.canvas.images.labels, self.forgotten.flatten()
        rows = [(labels == pair).nonzero().flatten()[: self.real_per_pair] for pair in range(len(forgotten))]
        return torch.cat([found for pair, found in enumerate(rows) if not forgotten[pair]])

    def _numbers(self, pairs: Tensor) -> dict[str, Tensor]:
        kind = KINDS.index(self.forget.kind if self.forget is not None else "style")
        objects = len(self.canvas.objects)
        return {"style": pairs // objects, "object": pairs % objects, "kind": torch.full_like(pairs, kind)}

    def _text(self, pair: int) -> str:
        style, thing = divmod(pair, len(self.canvas.objects))
        return described(self.prompt, self.canvas.styles[style], self.canvas.objects[thing])

    def _instead(self, pair: int, row: int) -> int:
        assert self.forget is not None
        style, thing = divmod(pair, len(self.canvas.objects))
        photo = list(self.canvas.styles).index(self.photo)
        return self.canvas.pair(*self.forget.instead(self.canvas, style, thing, photo, Random(f"{self.seed}/{row}")))
