"""What a reference is: a source of what the model said before unlearning."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from unlearn_pl.recording import Recorded
from unlearn_pl.types import TokenBatch


class Reference(Recorded, ABC):
    """Fills the ``ref_*`` fields of a stream's view, without gradients.

    A reference lives outside the LightningModule's submodules: it is neither trained, nor saved, nor toggled.

    Attributes:
        is_original: True when the reference is the model before unlearning, so that divergences from it start at 0.
        copies_model: True when ``prepare`` calls ``build``; a live model is then copied beforehand.
    """

    is_original: bool = True
    copies_model: bool = True

    @abstractmethod
    def prepare(self, build: Callable[[], nn.Module], model: nn.Module) -> None:
        """Get ready, once, before the checkpoint of a resumed run is restored.

        Args:
            build: makes a model with the original weights, sharded and placed as the trained one is.
            model: the trained model itself.

        Raises:
            ValueError: if this model cannot serve as, or be paired with, this reference.
        """

    @abstractmethod
    def annotate(
        self, stream: str, batch: TokenBatch, needs: frozenset[str], model: nn.Module
    ) -> dict[str, Tensor | dict[int, Tensor]]:
        """The ``ref_*`` fields among ``needs`` for ``batch``.

        Args:
            stream: name of the stream.
            batch: its micro-batch.
            needs: union of the needs of the stream's objectives.
            model: the model that is being trained (for references that live inside it).

        Returns:
            Field name to value, as in :class:`~unlearn_pl.types.StreamView`.
        """
