"""Activation patching: a model's log-probability of a text with hidden states of another model behind one layer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from unlearn_pl.models import decoder_layers, stream_forward
from unlearn_pl.types import TokenBatch, label_mask


def log_probs(model: nn.Module, batch: TokenBatch) -> Tensor:
    """Mean log-probability of the labels of every row, ``[B]`` fp64; NaN for rows without a label.

    Args:
        model: a causal language model of transformers.
        batch: ``[B, T]`` tokens.
    """
    view = stream_forward(model, batch, frozenset())
    return view.logps.double().sum(dim=-1) / view.mask.sum(dim=-1)


def layer_states(model: nn.Module, batch: TokenBatch) -> list[Tensor]:
    """The outputs of all L decoder layers where they predict the N labels of ``batch``: L times ``[N, D]``.

    Args:
        model: a causal language model of transformers.
        batch: ``[B, T]`` tokens.
    """
    scored = label_mask(batch["labels"])
    states: list[Tensor] = []

    def keep(module: nn.Module, arguments: object, output: object) -> None:
        states.append(_hidden(output)[:, :-1][scored])

    with _hooked(decoder_layers(model), keep):
        stream_forward(model, batch, frozenset())
    return states


def patched_log_probs(model: nn.Module, batch: TokenBatch, states: Sequence[Tensor]) -> Tensor:
    """:func:`log_probs` of ``model`` with the states of another model behind one layer at a time, ``[B, L]`` fp64.

    Args:
        model: a causal language model of transformers with L layers.
        batch: ``[B, T]`` tokens with N labels.
        states: L times ``[N, D]``, from :func:`layer_states` of the other model on the same batch.
    """
    scored = label_mask(batch["labels"])
    found = []
    for layer, others in zip(decoder_layers(model), states, strict=True):

        def replace(module: nn.Module, arguments: object, output: object, others: Tensor = others) -> object:
            hidden = _hidden(output).clone()
            hidden[:, :-1][scored] = others.to(hidden)
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        with _hooked([layer], replace):
            found.append(log_probs(model, batch))
    return torch.stack(found, dim=-1)


def _hidden(output: object) -> Tensor:
    """The hidden states ``[B, T, D]`` in what a decoder layer returns."""
    hidden = output[0] if isinstance(output, tuple) else output
    assert isinstance(hidden, Tensor)
    return hidden


@contextmanager
def _hooked(layers: Sequence[nn.Module], hook: object) -> Iterator[None]:
    handles = [layer.register_forward_hook(hook) for layer in layers]  # type: ignore[arg-type]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
