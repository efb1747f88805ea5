"""The inner product in which gradients are compared, and the blocks of parameters."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from unlearn_pl.gradients.rows import Row, local

Scope = Literal["global", "group", "tensor"]
Metric = Literal["euclidean", "adam"]


@dataclass(frozen=True)
class Geometry:
    """Blocks of parameters, and the metric ``H``: the Gramian of a block is ``G[i, j] = g_i^T H g_j`` over its entries.

    Attributes:
        blocks: number of the block of each parameter, from 0.
        metric: diagonal of ``H``, one tensor (or shard) per parameter; None is the identity, for all parameters or for
            one.
    """

    blocks: Sequence[int]
    metric: Row | None = None


def one_block(parameters: Sequence[nn.Parameter]) -> Geometry:
    """All ``parameters`` as one block, in the Euclidean metric."""
    return Geometry([0] * len(parameters))


def blocks_of(names: Sequence[str], scope: Scope) -> list[int]:
    """The block of each parameter, numbered from 0 in the order of first appearance.

    Args:
        names: names of the parameters, as in ``model.named_parameters()``.
        scope: ``global`` for a single block; ``group`` for one per transformer layer and one per module outside the
            layers (embedding, last norm, output head); ``tensor`` for one per parameter.

    Example:
        >>> blocks_of(["embed.weight", "layers.0.q.weight", "layers.0.k.weight", "layers.1.q.weight"], "group")
        [0, 1, 1, 2]
    """
    keys = {"global": lambda name: "", "group": _layer, "tensor": lambda name: name}
    labels = [keys[scope](name) for name in names]
    number = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    return [number[label] for label in labels]


def _layer(name: str) -> str:
    layer = re.match(r".*?\.\d+(?=\.)", name)
    return layer[0] if layer else name.rpartition(".")[0]


def adam_metric(optimizer: Optimizer, parameters: Sequence[nn.Parameter]) -> Row | None:
    """``1 / (sqrt(v / (1 - beta2^t)) + eps)``: the factor by which Adam scales the gradient, as of its last step.

    Elements that no gradient has reached yet have no scale: they get 0, or 1 if this holds for the whole parameter.

    Args:
        optimizer: one of the Adam family, which keeps ``exp_avg_sq`` and ``step`` per parameter.
        parameters: the trained parameters.

    Returns:
        One tensor (or shard) per parameter, shaped as it; None (the identity) for those that no gradient has reached
        yet. A single None before the optimizer's first step.

    Raises:
        ValueError: if the optimizer is not of the Adam family.
    """
    check_adam(optimizer)
    group_of = {parameter: group for group in optimizer.param_groups for parameter in group["params"]}
    states = [optimizer.state.get(parameter) for parameter in parameters]
    if not any(states):
        return None
    return [_adam_scale(s, group_of[p]) if s else None for p, s in zip(parameters, states, strict=True)]


def check_adam(optimizer: Optimizer) -> None:
    """Check that an optimizer has ``betas`` and ``eps``, and in its state the second moments ``exp_avg_sq``.

    Raises:
        ValueError: naming the optimizer.
    """
    settings = optimizer.param_groups[0]
    kept = [state for state in optimizer.state.values() if state]
    if not {"betas", "eps"} <= settings.keys() or any("exp_avg_sq" not in state for state in kept):
        raise ValueError(
            f"metric='adam' reads the second moments of Adam, which {type(optimizer).__name__} does not keep. "
            "Accepted with it: torch.optim.Adam, AdamW, NAdam. Otherwise use metric='euclidean'."
        )


def _adam_scale(state: dict, group: dict) -> Tensor:
    # The step may be on the device: as a tensor it stays there, without synchronization.
    correction = 1 - group["betas"][1] ** torch.as_tensor(state["step"]).double()
    variance = local(state["exp_avg_sq"])
    variance = variance.to(torch.promote_types(variance.dtype, torch.float32)) / correction
    # Divided by eps alone, embedding rows of words not seen yet would outweigh everything else.
    scale = (1 / (variance.sqrt() + group["eps"])).masked_fill(variance == 0, 0.0)
    return torch.where(variance.any(), scale, torch.ones_like(scale))
