"""The ``ref_*`` fields that objectives need, from a forward of the reference model."""

import torch
from torch import Tensor, nn

from unlearn_pl.types import Batch, Forward, Need, Needs, parse_needs


def reference_needs(needs: Needs) -> Needs:
    """The fields of the reference model's own view: the ``ref_*`` fields among ``needs``, without the prefix."""
    return frozenset(Need(need.field, need.layer) for need in parse_needs(needs) if need.reference)


@torch.no_grad()
def reference_fields(
    forward: Forward, model: nn.Module, batch: Batch, needs: Needs
) -> dict[str, Tensor | dict[int, Tensor]]:
    """The ``ref_*`` fields among ``needs``, from one forward of ``model``; without any, no forward runs.

    Args:
        forward: runs a model of this kind.
        model: the reference model, in evaluation mode.
        batch: a micro-batch.
        needs: fields of a view; ``ref_logits`` requires ``logits`` of the reference model, and so on.

    Returns:
        ``ref_<field>`` to the reference model's value: ``[B, T-1, ...]``, or layer number to ``[B, T-1, D]``.
    """
    wanted = reference_needs(needs)
    if not wanted:
        return {}
    view = forward(model, batch, wanted)
    return {f"ref_{field}": getattr(view, field) for field in sorted({need.field for need in wanted})}
