"""How a language model makes logits of the states after its last layer: a norm and a linear head."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearn_pl.models.layers.states import final_norm, states_in
from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.models.sharding import decoder_layers


@dataclass(frozen=True)
class Readout:
    """``head (gain n(h) + shift) + bias`` with a root-mean-square norm ``n``, or with a layer norm if ``centered``.

    Attributes:
        head: ``[V, D]``.
        bias: ``[V]``.
        gain: ``[D]``.
        shift: ``[D]``.
        centered: whether the norm takes the mean off.
        eps: what the norm adds to the variance.
    """

    head: Tensor
    bias: Tensor
    gain: Tensor
    shift: Tensor
    centered: bool
    eps: float

    def logits(self, states: Tensor) -> Tensor:
        """``[..., V]`` of ``states [..., D]``, in their dtype."""
        gain, shift, head, bias = (part.to(states) for part in (self.gain, self.shift, self.head, self.bias))
        return F.linear(gain * normalized(states, self.centered, self.eps) + shift, head, bias)


def normalized(states: Tensor, centered: bool, eps: float) -> Tensor:
    """``states [..., D]`` divided by their root mean square; with ``centered``, by that of ``states - mean``.

    Example:
        >>> normalized(torch.tensor([3.0, -3.0]), centered=False, eps=0.0)
        tensor([ 1., -1.])
    """
    if centered:
        states = states - states.mean(dim=-1, keepdim=True)
    return states * (states.square().mean(dim=-1, keepdim=True) + eps).rsqrt()


@torch.no_grad()
def readout_of(model: nn.Module) -> Readout:
    """The readout of a causal language model of transformers, compared with its own logits.

    Args:
        model: with weights in float32 or better.

    Raises:
        ValueError: if its logits are not made by a norm and a linear head, such as those of models that cap them.
    """
    norm, head = final_norm(model), model.get_output_embeddings()  # type: ignore[operator]
    weight = head.weight.detach()
    bias = getattr(head, "bias", None)
    eps = next((float(getattr(norm, name)) for name in ("variance_epsilon", "eps") if hasattr(norm, name)), 0.0)
    states, logits = _states_and_logits(model)
    for centered in (False, True):
        gain, shift = _gain_and_shift(norm, weight, centered, eps)
        found = Readout(weight, weight.new_zeros(len(weight)) if bias is None else bias, gain, shift, centered, eps)
        if torch.allclose(found.logits(states), logits, rtol=1e-3, atol=1e-3 * logits.abs().max().item()):
            return found
    raise ValueError(
        f"The logits of {type(model).__name__} are no linear function of normalized states; accepted: models with a "
        "root-mean-square or layer norm and a linear head after their layers, which do nothing else to their logits."
    )


def _gain_and_shift(norm: nn.Module, like: Tensor, centered: bool, eps: float) -> tuple[Tensor, Tensor]:
    """What ``norm`` does after the division, from what it makes of two opposite vectors; ``[D]`` each."""
    generator = torch.Generator().manual_seed(0)
    probe = (1 + torch.rand(like.shape[1], generator=generator)) * (1 - 2 * (torch.arange(like.shape[1]) % 2))
    probe = probe.to(like)
    plus, minus = norm(probe[None, None])[0, 0], norm(-probe[None, None])[0, 0]
    return (plus - minus) / 2 / normalized(probe, centered, eps), (plus + minus) / 2


def _states_and_logits(model: nn.Module) -> tuple[Tensor, Tensor]:
    """The output of the last layer and the logits for a few tokens, ``[1, T, D]`` and ``[1, T, V]``."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, given: Any, output: Any) -> None:
        seen.append(states_in(output))

    handle = decoder_layers(model)[-1].register_forward_hook(keep)
    try:
        with evaluation_mode(model):
            ids = torch.arange(4, device=next(model.parameters()).device).unsqueeze(0)
            logits = model(input_ids=ids).logits
        return seen[-1], logits
    finally:
        handle.remove()
