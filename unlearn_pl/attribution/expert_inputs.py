"""Inputs of the matrices of experts that are stored together."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearn_pl.models.weight_layout import UP_PROJECTIONS


@torch.no_grad()
def expert_squares(experts: nn.Module, tokens: Tensor, routes: Tensor) -> dict[str, Tensor]:
    """Name of a stack of matrices to the sum of the squares of each input, over the tokens routed to each expert.

    Args:
        experts: experts in the common form of transformers: an up projection, with or without a gate, and a down
            projection.
        tokens: ``[N, hidden]``.
        routes: ``[N, k]`` numbers of the experts of each token.

    Returns:
        ``[experts, in]`` fp32 by name.
    """
    up = next(name for name in UP_PROJECTIONS if hasattr(experts, name))
    has_gate = up == "gate_up_proj"
    squares: dict[str, list[Tensor]] = {up: [], "down_proj": []}
    for expert in range(len(getattr(experts, up))):
        own = tokens[(routes == expert).any(dim=-1)]
        inner = _projected(experts, up, own, expert)
        inner = experts._apply_gate(inner) if has_gate else experts.act_fn(inner)  # type: ignore[operator]
        squares[up].append(own.float().square().sum(dim=0))
        squares["down_proj"].append(inner.float().square().sum(dim=0))
    return {name: torch.stack(of_experts) for name, of_experts in squares.items()}


def _projected(experts: nn.Module, name: str, inputs: Tensor, expert: int) -> Tensor:
    weight = getattr(experts, name)[expert]
    bias = getattr(experts, f"{name}_bias")[expert] if experts.has_bias else None
    return F.linear(inputs, weight.T if experts.is_transposed else weight, bias)
