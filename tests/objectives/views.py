"""Views of a made-up model for the tests of objectives: answers of unequal length, and a second, shorter stream."""

import torch

from tests.lenses import lens_file
from unlearn_pl.functional import token_log_probs
from unlearn_pl.objectives import TunedLensLoss
from unlearn_pl.types import StreamView

B, T, V = 4, 8, 6
PROMPT, LENGTH = [1, 3, 2, 1], [8, 4, 7, 3]
ALTERNATE_LENGTH = [3, 6, 5, 8]

NEEDED = {TunedLensLoss: [{"lens": lens_file(V, V), "layers": [7, 8]}]}
"""Arguments of objectives that no default would suit: the logits are states of width V."""


def make_tensors(seed=2, prompt=PROMPT, length=LENGTH):
    """Logits and reference logits ``[B, T, V]`` fp64, labels ``[B, T]``; another seed for another stream."""
    generator = torch.Generator().manual_seed(seed)
    logits, ref_logits = 2 * torch.randn(2, B, T, V, generator=generator, dtype=torch.float64)
    labels = torch.randint(V, (B, T), generator=generator)
    positions = torch.arange(T)
    scored = (positions >= torch.tensor(prompt)[:, None]) & (positions < torch.tensor(length)[:, None])
    return logits, ref_logits, labels.masked_fill(~scored, -100)


def make_view(logits, ref_logits, labels, layers=(7, 8)):
    """The view with every field; the hidden states of all ``layers`` are the logits themselves (D = V)."""
    logps, mask = token_log_probs(logits, labels)
    return StreamView(
        labels=labels[:, 1:],
        mask=mask,
        logps=logps,
        index=torch.arange(len(labels)),
        logits=logits[:, :-1],
        hidden=dict.fromkeys(layers, logits[:, :-1]),
        ref_logps=token_log_probs(ref_logits, labels)[0],
        ref_logits=ref_logits[:, :-1],
        ref_hidden=dict.fromkeys(layers, ref_logits[:, :-1]),
    )


def made_view(objective, logits, ref_logits, labels):
    """The view of :func:`make_view`, with the layers that ``objective`` needs."""
    layers = sorted({int(need.partition(".")[2]) for need in objective.needs if "hidden." in need})
    return make_view(logits, ref_logits, labels, layers)


def only_needed(view, needs):
    """``view`` with what every view has, and the fields that are named in ``needs``."""
    lean = StreamView(labels=view.labels, mask=view.mask, logps=view.logps, index=view.index)
    for need in needs:
        name, _, layer = need.partition(".")
        value = getattr(view, name)
        setattr(lean, name, {**getattr(lean, name), int(layer): value[int(layer)]} if layer else value)
    return lean


def pad(logits, ref_logits, labels, width=5):
    """The same tensors with ``width`` unscored positions at the right that hold extreme logits."""
    noise = torch.full((len(labels), width, V), 1e4, dtype=logits.dtype)
    return (
        torch.cat([logits, noise], 1),
        torch.cat([ref_logits, -noise], 1),
        torch.cat([labels, torch.full((len(labels), width), -100)], 1),
    )
