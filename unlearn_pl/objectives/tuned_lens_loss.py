"""Entropy of what tuned lenses read in the states of several layers."""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from unlearn_pl.functional.logprobs import mean_of_scored, upcast
from unlearn_pl.functional.scored_rows import over_scored
from unlearn_pl.models.layers.lens import Lens, read_lens
from unlearn_pl.objectives.base import Objective
from unlearn_pl.objectives.layers import hidden_needs, needs_of_layers
from unlearn_pl.types import LanguageView


class TunedLensLoss(Objective):
    """``-mean_v log p_l(v) / log V``, mean over layers and scored positions: no layer says anything about a token.

    ``p_l`` is what a frozen lens makes of the states after layer l (``unlearn-pl lens``): an affine map, then the norm
    and the head of the model before unlearning. 1 is the minimum, where every token is equally likely. It is the mean,
    over all labels, of the cross-entropy of a random label, so that its gradient is that of a fresh random label per
    token without the noise.

    The lenses are read from their file at the first step. They are no part of checkpoints.

    Args:
        lens: the file of the lenses; all ranks must see it.
        layers: entries of transformers' ``hidden_states``, 8 is the output of module ``model.layers.7``; each needs a
            lens in the file. Name all inner layers: a layer that is left out keeps what it says.
        output: whether the model's own output counts as one more layer.
        stream: overrides ``forget``.

    Raises:
        ValueError: if no layer is given, one is given twice, or is negative; at the first step, if there is no such
            file, it lacks a layer, or its lenses are of another width than the model.

    References:
        Deep-supervised ("tuned-lens") unlearning in EleutherAI's code: there, the cross-entropy of random labels. The
        lens: Belrose et al., Eliciting Latent Predictions from Transformers with the Tuned Lens, arXiv 2303.08112.
    """

    stream = "forget"
    role = "forget"
    needs = frozenset({"hidden.8", "logits"})
    reaches_all = False

    def __init__(
        self,
        lens: str = "lens.safetensors",
        layers: Sequence[int] = (8,),
        output: bool = True,
        stream: str | None = None,
    ) -> None:
        super().__init__(stream)
        needs_of_layers(layers)  # which checks them
        self.needs = frozenset[str]().union(*(hidden_needs(layer, reference=False) for layer in layers))
        self.needs |= {"logits"} if output else frozenset()
        self.lens = lens
        self.layers = list(layers)
        self.output = output
        self._read: Lens | None = None

    def loss(self, view: LanguageView) -> Tensor:
        """The mean cross-entropy of a random label in units of ``log V``, ``[]``."""
        lens = self._lens_on(view.labels.device)
        terms = []
        for layer in self.layers:
            states = view.hidden[layer]
            self._check_width(lens, states)
            terms.append(over_scored(partial(_of_states, lens, layer), view.mask, states))
        if self.output:
            assert view.logits is not None
            terms.append(over_scored(_of_logits, view.mask, view.logits))
        return torch.stack([mean_of_scored(term, view.mask) for term in terms]).mean()

    def _lens_on(self, device: torch.device) -> Lens:
        if self._read is None:
            self._read = read_lens(self.lens)
            if missing := sorted(set(self.layers) - set(self._read.maps)):
                raise ValueError(
                    f"{self.lens!r} has no lens for the layers {missing}; accepted: {sorted(self._read.maps)}, or a "
                    "file made by `unlearn-pl lens --layers`."
                )
        if self._read.readout.head.device != device:
            self._read = self._read.on(device)
        return self._read

    def _check_width(self, lens: Lens, states: Tensor) -> None:
        width = lens.readout.head.shape[1]
        if states.shape[-1] != width:
            raise ValueError(
                f"The lenses in {self.lens!r} are for states of width {width}, and the model's have "
                f"{states.shape[-1]}; accepted: a file made with this model."
            )


def _of_states(lens: Lens, layer: int, states: Tensor) -> Tensor:
    """``[n]`` from ``states [n, D]``."""
    return _of_logits(lens.logits(layer, upcast(states)))


def _of_logits(logits: Tensor) -> Tensor:
    """The mean cross-entropy over all labels in units of ``log V``, ``[n]`` from ``logits [n, V]``."""
    return -torch.log_softmax(upcast(logits), dim=-1).mean(dim=-1) / math.log(logits.shape[-1])
