"""Base class of references: sources of the outputs of a reference model, usually the model before unlearning."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from unlearn_pl.recording import Recorded
from unlearn_pl.references.context import ReferenceContext
from unlearn_pl.types import Batch, Needs, View


class Reference(Recorded, ABC):
    """Fills the ``ref_*`` fields of a stream's view, without gradients.

    A reference is not a submodule of the LightningModule: it is neither trained nor saved, and keeps its mode.

    Attributes:
        is_original: True if the reference model has the original weights, so that divergences from it start at 0.
        copies_model: True if ``prepare`` may build a model with the original weights; a live model is then copied
            beforehand.
        borrows_model: True if ``prepare`` can use the trained model as long as it still has the original weights; a
            live model is then copied only if a checkpoint is about to change it.
    """

    is_original: bool = True
    copies_model: bool = True
    borrows_model: bool = False

    @abstractmethod
    def prepare(self, context: ReferenceContext) -> None:
        """Prepare the reference, once, before the checkpoint of a resumed run is restored.

        Args:
            context: the models, the data and the device.

        Raises:
            ValueError: if this reference does not support the model, the data or the objectives' needs.
        """

    @abstractmethod
    def annotate(
        self, stream: str, batch: Batch, needs: Needs, model: nn.Module
    ) -> dict[str, Tensor | dict[int, Tensor]]:
        """The ``ref_*`` fields among ``needs`` for ``batch``, without gradients.

        Args:
            stream: name of the stream.
            batch: its micro-batch.
            needs: union of the needs of the stream's objectives.
            model: the model that is being trained (for references that are part of it).

        Returns:
            Field name to value: ``ref_logps [B, T-1]``, ``ref_logits [B, T-1, V]``, or ``ref_hidden``, a dictionary of
            layer number to ``[B, T-1, D]``.
        """

    def complete(self, stream: str, batch: Batch, needs: Needs, view: View) -> None:
        """Set the ``ref_*`` fields of ``view`` that depend on the model's own forward; by default none.

        Args:
            stream: name of the stream.
            batch: its micro-batch.
            needs: union of the needs of the stream's objectives.
            view: the forward of the model on ``batch``, with the fields from :meth:`annotate`.
        """
        return
