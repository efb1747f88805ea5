"""A second, frozen model as the reference model."""

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from unlearn_pl.models.language.causal_lm import CausalLM, DTypeName
from unlearn_pl.models.precision import cast_parameters
from unlearn_pl.models.sharding import shard
from unlearn_pl.references.base import Reference
from unlearn_pl.references.context import ReferenceContext
from unlearn_pl.references.fields import reference_fields
from unlearn_pl.types import Batch, Forward, Needs

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class FrozenReference(Reference):
    """A separate frozen model, by default with the original weights of the trained one.

    It takes the memory of its weights, which are sharded like the trained ones.

    Args:
        model: a different reference model (Hub id, folder or alias) with the same vocabulary; for instance one that
            was never trained on the forget set.
        dtype: dtype of its weights; by default that of the trained ones. With another dtype, divergences start at
            rounding error instead of 0.
    """

    def __init__(self, model: str | None = None, dtype: DTypeName | None = None) -> None:
        self.model = model
        self.dtype = dtype
        self.is_original = self.copies_model = model is None
        self._frozen: nn.Module | None = None
        self._forward: Forward

    def prepare(self, context: ReferenceContext) -> None:
        """Build the frozen model, in evaluation mode and without gradients.

        Args:
            context: builds the model.

        Raises:
            ValueError: if the vocabularies of the two models differ in size.
        """
        self._forward = context.forward
        frozen = context.build() if self.model is None else self._other_model(self.model, context.model)
        if self.dtype is not None:
            cast_parameters(frozen, getattr(torch, self.dtype))
        self._frozen = frozen.eval().requires_grad_(False)

    def annotate(
        self, stream: str, batch: Batch, needs: Needs, model: nn.Module
    ) -> dict[str, Tensor | dict[int, Tensor]]:
        """The ``ref_*`` fields among ``needs`` for ``batch``, from the frozen model."""
        assert self._frozen is not None, "prepare comes first"
        device = batch["index"].device
        if next(self._frozen.parameters()).device != device:
            self._frozen = self._frozen.to(device)
        return reference_fields(self._forward, self._frozen, batch, needs)

    @staticmethod
    def _other_model(name: str, trained: nn.Module) -> nn.Module:
        other = CausalLM(name).build(next(trained.parameters()).dtype)
        ours, theirs = (cast("PreTrainedModel", each).config.get_text_config().vocab_size for each in (trained, other))
        if ours != theirs:
            raise ValueError(
                f"the reference model {name!r} has {theirs} tokens and the trained model has {ours}; "
                "a reference needs the vocabulary of the trained model"
            )
        # The root's own weights may be gathered at the moment; those of the layers are not.
        mesh = next((p.device_mesh for p in trained.parameters() if isinstance(p, DTensor)), None)
        return other if mesh is None else shard(other, mesh)
