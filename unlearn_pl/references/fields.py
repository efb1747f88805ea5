"""From what objectives need of the reference to what its forward gives."""

import torch
from torch import Tensor, nn

from unlearn_pl.models.language.forward import stream_forward
from unlearn_pl.types import TokenBatch

PREFIX = "ref_"


@torch.no_grad()
def reference_fields(
    model: nn.Module, batch: TokenBatch, needs: frozenset[str]
) -> dict[str, Tensor | dict[int, Tensor]]:
    """The ``ref_*`` fields among ``needs``, from one forward of ``model``; nothing runs where there are none.

    Args:
        model: the reference model, in evaluation mode.
        batch: ``[B, T]`` tokens.
        needs: any fields of a view; ``ref_logits`` asks the reference for ``logits``, and so on.

    Returns:
        ``ref_logps [B, T-1]``, ``ref_logits [B, T-1, V]`` and ``ref_hidden``, layer number to ``[B, T-1, D]``.
    """
    wanted = frozenset(need.removeprefix(PREFIX) for need in needs if need.startswith(PREFIX))
    if not wanted:
        return {}
    view = stream_forward(model, batch, wanted)
    fields: dict[str, Tensor | dict[int, Tensor]] = {}
    if "logps" in wanted:
        fields["ref_logps"] = view.logps
    if view.logits is not None:
        fields["ref_logits"] = view.logits
    if view.hidden:
        fields["ref_hidden"] = view.hidden
    return fields
