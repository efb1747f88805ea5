"""From what objectives need of the reference to what its forward gives."""

import torch
from torch import Tensor, nn

from unlearn_pl.types import Batch, Forward, Need, Needs, parse_needs


def reference_needs(needs: Needs) -> Needs:
    """What the reference itself must give: the needs that concern it, without their ``ref_``."""
    return frozenset(Need(need.field, need.layer) for need in parse_needs(needs) if need.reference)


@torch.no_grad()
def reference_fields(
    forward: Forward, model: nn.Module, batch: Batch, needs: Needs
) -> dict[str, Tensor | dict[int, Tensor]]:
    """The ``ref_*`` fields among ``needs``, from one forward of ``model``; nothing runs where there are none.

    Args:
        forward: runs a model of this kind.
        model: the reference model, in evaluation mode.
        batch: a micro-batch.
        needs: fields of a view; ``ref_logits`` asks the reference for ``logits``, and so on.

    Returns:
        ``ref_<field>`` to the reference's value of the field, or for fields with layers to layer number and value.
    """
    wanted = reference_needs(needs)
    if not wanted:
        return {}
    view = forward(model, batch, wanted)
    return {f"ref_{field}": getattr(view, field) for field in sorted({need.field for need in wanted})}
