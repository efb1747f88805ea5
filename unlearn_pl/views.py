"""Views of a stream: the result of one forward, and the fields that objectives need of it.

Shape letters as in :mod:`unlearn_pl.types`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from unlearn_pl.host_copies import on_both, true_positions
from unlearn_pl.token_weights import weigh, weights_of

IGNORE_INDEX = -100
"""Label of a position that is not scored (prompt, padding)."""

MeanOver = Literal["tokens", "sequences"]


@dataclass(frozen=True, order=True)
class Need:
    """A field of a stream's view that an objective reads.

    Attributes:
        field: its name in the view: ``logps``, ``logits``, ``hidden``, ``prediction``, ...
        layer: number of the layer, for fields that have one per layer.
        reference: the reference model's value of the field, which the view holds as ``ref_<field>``.
    """

    field: str
    layer: int | None = None
    reference: bool = False

    @classmethod
    @cache
    def parse(cls, text: str) -> Self:
        """The need that ``text`` spells: ``logits``, ``hidden.7``, ``ref_logits`` or ``ref_hidden.7``.

        Raises:
            ValueError: if the part after the dot is not a number.
        """
        name, _, layer = text.partition(".")
        if layer and not layer.isdecimal():
            raise ValueError(f"A need is {text!r}; accepted: a field such as 'logits', or with a layer, 'hidden.7'.")
        return cls(name.removeprefix("ref_"), int(layer) if layer else None, name.startswith("ref_"))

    def __str__(self) -> str:
        layer = "" if self.layer is None else f".{self.layer}"
        return f"{'ref_' * self.reference}{self.field}{layer}"


Needs = frozenset[Need]


def parse_needs(needs: Iterable[Need | str]) -> Needs:
    """``needs`` with every string parsed by :meth:`Need.parse`."""
    return frozenset(Need.parse(need) if isinstance(need, str) else need for need in needs)


class View(Protocol):
    """The result of one forward of one stream; further fields are those that objectives name in their ``needs``.

    Attributes:
        index: ``[B]`` position of each example in its dataset.
    """

    index: Tensor

    def count(self, mean_over: MeanOver) -> Tensor:
        """What a loss over this view averages over; ``[]`` fp64."""


@runtime_checkable
class AnswerView(View, Protocol):
    """A view of examples with a correct answer (or text, or class), which the model gives a probability."""

    def probability(self) -> Tensor:
        """Probability of the answer, mean over the view's sequences; ``[]``."""

    def probability_kept(self) -> Tensor | None:
        """The same relative to the reference model, per example; ``[]``, None without a reference."""


@dataclass
class LanguageView:
    """The view of a language model, aligned so that position ``t`` of every field refers to label ``t``.

    A classifier has the same view with ``T - 1 = 1``: its label is the only token.

    Attributes:
        labels: ``[B, T-1]`` the token that each position predicts.
        mask: ``[B, T-1]`` True where that token is scored.
        logps: ``[B, T-1]`` log-probability of the label, fp32 or better; 0 where not scored.
        index: ``[B]`` position of each example in its dataset.
        logits: ``[B, T-1, V]``, if an objective needs them.
        hidden: layer number to ``[B, T-1, D]``, if an objective needs them.
        ref_logps: ``[B, T-1]`` the same as ``logps`` under the reference model.
        ref_logits: ``[B, T-1, V]`` the same as ``logits`` under the reference model.
        ref_hidden: layer number to ``[B, T-1, D]`` under the reference model.
        statistics: ``[B, T-1, C]`` further statistics of the logits, for an evaluation; 0 where not scored.
    """

    labels: Tensor
    mask: Tensor
    logps: Tensor
    index: Tensor
    logits: Tensor | None = None
    hidden: dict[int, Tensor] = field(default_factory=dict)
    ref_logps: Tensor | None = None
    ref_logits: Tensor | None = None
    ref_hidden: dict[int, Tensor] = field(default_factory=dict)
    statistics: Tensor | None = None

    @property
    def weights(self) -> Tensor | None:
        """``[B, T-1]`` weights of the scored tokens, 0 where none is scored; None if all tokens weigh the same.

        They go with ``mask``: every mean that the library takes over it is weighted by them.
        """
        return weights_of(self.mask)

    def count(self, mean_over: MeanOver) -> Tensor:
        """Number of scored tokens (the sum of their weights), or of sequences with at least one; ``[]`` fp64."""
        return count_labels(self.mask, mean_over)

    def probability(self) -> Tensor:
        """``exp`` of the mean log-probability of the scored tokens, mean over the sequences that have any; ``[]``."""
        return _mean_probability(self.logps, self.mask)

    def probability_kept(self) -> Tensor | None:
        """The same of ``logps - ref_logps``: 1 where the model gives every answer its reference's probability; ``[]``.

        None without a reference model.
        """
        return None if self.ref_logps is None else _mean_probability(self.logps - self.ref_logps, self.mask)


StreamView = LanguageView
"""Former name of :class:`LanguageView`, from before there were views of other models."""


@dataclass
class DenoisingView:
    """The view of a diffusion model: its prediction for noisy images at random timesteps, under several prompts.

    A prediction is of the noise or of the velocity, as the model's schedule says. All predictions are ``[B, C, H, W]``
    and of the same noisy images; those that are not ``prediction`` have no gradient.

    Attributes:
        index: ``[B]`` position of each example in its dataset.
        prediction: under the example's own prompt.
        target: what the prediction was trained towards.
        timestep: ``[B]`` int64.
        null_prediction: under the empty prompt, if an objective needs it.
        pseudo_prediction: under the example's pseudo prompt, if an objective needs it.
        uniform_noise: uniform numbers in [0, 1), if an objective needs them.
        ref_prediction: as ``prediction``, of the reference model.
        ref_null_prediction: as ``null_prediction``, of the reference model.
        ref_pseudo_prediction: as ``pseudo_prediction``, of the reference model.
    """

    index: Tensor
    prediction: Tensor
    target: Tensor
    timestep: Tensor
    null_prediction: Tensor | None = None
    pseudo_prediction: Tensor | None = None
    uniform_noise: Tensor | None = None
    ref_prediction: Tensor | None = None
    ref_null_prediction: Tensor | None = None
    ref_pseudo_prediction: Tensor | None = None

    def count(self, mean_over: MeanOver) -> Tensor:
        """Number of images, ``[]`` fp64."""
        return self.index.new_tensor(len(self.index), dtype=torch.float64)


def label_mask(labels: Tensor) -> Tensor:
    """True where ``labels [B, T]`` are scored, shifted to the positions that predict them: ``[B, T-1]``.

    If a copy of ``labels`` is kept on the host, one of the mask is kept as well.
    """
    return on_both(lambda given: given[:, 1:] != IGNORE_INDEX, labels)


def scored_mask(batch: Mapping[str, Tensor]) -> Tensor:
    """:func:`label_mask` of ``batch["labels"]``, with the weights of ``batch["weight"] [B, T]``, if it has them."""
    mask, weights = label_mask(batch["labels"]), batch.get("weight")
    return mask if weights is None else weigh(mask, weights[:, 1:])


def labeled_rows(*masks: Tensor) -> Tensor:
    """Numbers ``[R]`` of the rows that have a True entry in each of ``masks [B, T-1]``."""
    return true_positions(on_both(_have_entries, *masks)).squeeze(-1)


def _have_entries(*masks: Tensor) -> Tensor:
    return torch.stack([mask.any(dim=-1) for mask in masks]).all(dim=0)


def count_labels(mask: Tensor, mean_over: MeanOver) -> Tensor:
    """Number of True entries of ``mask [B, T-1]`` (tokens), or of rows that have one (sequences); ``[]`` fp64.

    If the mask has weights, the count of tokens is the sum of these.
    """
    weights = weights_of(mask) if mean_over == "tokens" else None
    counted = mask.any(dim=-1) if mean_over == "sequences" else mask if weights is None else weights
    return counted.sum(dtype=torch.float64)


def _mean_probability(logps: Tensor, mask: Tensor) -> Tensor:
    """``exp`` of the mean of ``logps [B, T-1]`` over the True entries of ``mask``, mean over rows that have any; 0."""
    lengths = mask.sum(dim=-1)
    per_row = (logps.detach() * mask).sum(dim=-1).div(lengths.clamp(min=1)).exp() * (lengths > 0)
    return per_row.sum() / (lengths > 0).sum().clamp(min=1)
