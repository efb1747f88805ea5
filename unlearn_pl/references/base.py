"""The outputs of a reference model, usually the model before unlearning."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from unlearn_pl.recording import Recorded
from unlearn_pl.references.context import ReferenceContext
from unlearn_pl.types import Batch, Needs, View


class Reference(Recorded, ABC):
    """Fills the ``ref_*`` fields of a stream's view, without gradients.

    A reference lives outside the LightningModule's submodules: it is neither trained, nor saved, nor toggled.

    Attributes:
        is_original: True when the reference is the model before unlearning, so that divergences from it start at 0.
        copies_model: True when ``prepare`` may build the original model; a live model is then copied beforehand.
        borrows_model: True when ``prepare`` makes do with the trained model while that has the original weights; a
            live model is then copied only when a checkpoint is about to change it.
    """

    is_original: bool = True
    copies_model: bool = True
    borrows_model: bool = False

    @abstractmethod
    def prepare(self, context: ReferenceContext) -> None:
        """Get ready, once, before the checkpoint of a resumed run is restored.

        Args:
            context: the models, the data and the place.

        Raises:
            ValueError: if this model or this data cannot serve as, or be paired with, this reference.
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
            model: the model that is being trained (for references that live inside it).

        Returns:
            Field name (``ref_logits``, ``ref_hidden``, ...) to value, or to values by layer.
        """

    def complete(self, stream: str, batch: Batch, needs: Needs, view: View) -> None:
        """Set the ``ref_*`` fields of ``view`` that take the model's own forward; by default there are none.

        Args:
            stream: name of the stream.
            batch: its micro-batch.
            needs: union of the needs of the stream's objectives.
            view: the forward of the model on ``batch``, with what :meth:`annotate` gave.
        """
        return
