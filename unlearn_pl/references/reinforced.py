"""Generic predictions: those of a model, away from one that was trained further on the forget set."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unlearn_pl.models.language.causal_lm import DTypeName
from unlearn_pl.references.context import ReferenceContext
from unlearn_pl.references.fields import reference_needs
from unlearn_pl.references.frozen import FrozenReference
from unlearn_pl.types import Batch, Needs


class ReinforcedReference(FrozenReference):
    """``ref_logits = v - alpha relu(v_reinforced - v)`` on the forget set, those ``v`` of the original model elsewhere.

    A token that further training on the forget set makes more likely is one that the forget set teaches; its logit is
    lowered, and what is left is what a reader of other texts would say. The reinforced model is the original one after
    :class:`~unlearn_pl.modules.FineTuning` on the forget set. Both are held, without gradients: twice the memory of
    :class:`FrozenReference`, of which the estimate of memory counts one.

    Args:
        reinforced: folder, Hub id or alias of the reinforced model, with the vocabulary of the trained one.
        alpha: how far the logits are lowered; the paper takes 5.
        streams: streams with generic predictions.
        model: another original model; by default the trained one before training.
        dtype: dtype of the weights of both; by default that of the trained ones.

    Raises:
        ValueError: if ``alpha`` is not positive or there is no stream; from ``prepare``, if the vocabularies differ, or
            an objective on one of ``streams`` needs anything of the reference model but its logits.

    References:
        Eldan & Russinovich, Who's Harry Potter? Approximate Unlearning in LLMs, 2023, arXiv 2310.02238.
    """

    def __init__(
        self,
        reinforced: str,
        alpha: float = 5.0,
        streams: Sequence[str] = ("forget",),
        model: str | None = None,
        dtype: DTypeName | None = None,
    ) -> None:
        super().__init__(model, dtype)
        if not alpha > 0 or isinstance(streams, str) or not streams:
            raise ValueError(
                f"ReinforcedReference(alpha={alpha}, streams={streams!r}): accepted are a positive alpha, and the "
                "names of one stream or more as a list."
            )
        self.reinforced = reinforced
        self.alpha = alpha
        self.streams = tuple(streams)
        self.is_original = False
        self._others = FrozenReference(reinforced, dtype)

    def prepare(self, context: ReferenceContext) -> None:
        """Build both models, in evaluation mode and without gradients.

        Args:
            context: builds the original model, and says what the objectives need.
        """
        for stream in self.streams:
            needs = reference_needs(context.needs.get(stream, frozenset()))
            if others := sorted({need.field for need in needs} - {"logits"}):
                raise ValueError(
                    f"An objective on {stream!r} needs ref_{others[0]}, but ReinforcedReference has ref_logits alone "
                    "there. Accepted: objectives on distributions, such as GenericPredictionLoss and KLDivergenceLoss."
                )
        super().prepare(context)
        self._others.prepare(context)

    def annotate(
        self, stream: str, batch: Batch, needs: Needs, model: nn.Module
    ) -> dict[str, Tensor | dict[int, Tensor]]:
        """The ``ref_*`` fields among ``needs``; ``ref_logits`` are the generic ones on the streams that have them."""
        fields = super().annotate(stream, batch, needs, model)
        if stream in self.streams and isinstance(logits := fields.get("ref_logits"), Tensor):
            reinforced = self._others.annotate(stream, batch, needs, model)["ref_logits"]
            assert isinstance(reinforced, Tensor)
            fields["ref_logits"] = logits - self.alpha * torch.relu(reinforced - logits)
        return fields
