"""The trained model without its adapter, as the reference model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import Tensor, nn

from unlearn_pl.models.adapters import adapter_of, began_elsewhere
from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.references.base import Reference
from unlearn_pl.references.context import ReferenceContext
from unlearn_pl.references.fields import reference_fields
from unlearn_pl.types import Batch, Forward, Needs

if TYPE_CHECKING:
    from peft import PeftModel


class AdapterReference(Reference):
    """The trained model with its LoRA adapter disabled: the original weights, without extra memory.

    The base weights count as the original ones; merge an adapter that was trained before. After
    ``LoRA(initializer=...)`` they are not, which raises ``ValueError``.
    """

    copies_model = False
    _forward: Forward

    def prepare(self, context: ReferenceContext) -> None:
        """Check that there is an adapter to disable.

        Args:
            context: holds the trained model.

        Raises:
            ValueError: if the trained model has no adapter, or one whose start has changed the weights under it.
        """
        if (adapted := adapter_of(context.model)) is None:
            raise ValueError(
                f"AdapterReference needs a model with an adapter, and {type(context.model).__name__} has none; "
                "train one with CausalLM(..., lora=LoRA()) or UNet(..., lora=LoRA()), or use FrozenReference"
            )
        if (start := began_elsewhere(adapted)) is not None:
            raise ValueError(
                f"AdapterReference is the model without its adapters, but {start} has changed the weights under them, "
                "so that this is not the original model. Accepted: FrozenReference(), CachedReference(), or adapters "
                "that begin at 0: LoRA()."
            )
        self._forward = context.forward

    def annotate(
        self, stream: str, batch: Batch, needs: Needs, model: nn.Module
    ) -> dict[str, Tensor | dict[int, Tensor]]:
        """The ``ref_*`` fields among ``needs`` for ``batch``, from ``model`` without its adapter and dropout."""
        adapted = adapter_of(model)
        assert adapted is not None, "prepare comes first"
        with evaluation_mode(model), _adapter_off(adapted):
            return reference_fields(self._forward, model, batch, needs)


@contextmanager
def _adapter_off(model: "PeftModel") -> Iterator[None]:
    # peft makes every adapter weight trainable when it enables the adapter again, masked ones included.
    trainable = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        with model.disable_adapter():
            yield
    finally:
        for parameter, requires_grad in trainable:
            parameter.requires_grad_(requires_grad)
