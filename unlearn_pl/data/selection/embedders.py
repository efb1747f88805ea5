"""Embeddings of rows by the model that is trained."""

from abc import ABC, abstractmethod
from typing import ClassVar, cast

from torch import Tensor

from unlearn_pl.data.selection.examples import StreamExamples
from unlearn_pl.recording import Recorded
from unlearn_pl.types import Batch, LanguageView, Need, View


class Embedder(Recorded, ABC):
    """Maps every example of a stream to a vector.

    Attributes:
        uses_model: whether it reads the model of the module.
    """

    uses_model: ClassVar[bool] = True

    @abstractmethod
    def embed(self, examples: StreamExamples) -> Tensor:
        """The vectors of N ``examples``: ``[N, D]``."""

    def identity(self) -> str:
        """What the vectors depend on besides the arguments, the examples and the model of the module."""
        return ""


class HiddenStates(Embedder):
    """Mean of the hidden states of the whole text, prompt included, of the module's own model before training.

    Every token but the last has a state. The model is in evaluation mode.

    Args:
        layer: entry of transformers' ``hidden_states``: 0 is the embedding, -1 the last layer, after the final norm.
    """

    def __init__(self, layer: int = -1) -> None:
        self.layer = layer

    def embed(self, examples: StreamExamples) -> Tensor:
        """The means, ``[N, D]``.

        Raises:
            ValueError: if the model has no such layer, or no hidden states.
        """
        try:
            return examples.measured(frozenset({Need("hidden", self.layer)}), self._mean)
        except (IndexError, KeyError) as error:
            raise ValueError(
                f"HiddenStates(layer={self.layer}) cannot read {examples.name!r}: the model has no hidden states of "
                "that layer. Accepted: a layer of a language model, or ClassScores() for a classifier."
            ) from error

    def _mean(self, view: View, batch: Batch) -> Tensor:
        states = cast(LanguageView, view).hidden[self.layer].float()
        # Labels are ignored in a prompt as in the padding: only the attention mask tells them apart.
        weights = batch["attention_mask"][:, 1:].to(states).unsqueeze(-1)
        return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


class ClassScores(Embedder):
    """The logits of a classifier: what it takes an example for. For a language model, use :class:`HiddenStates`."""

    def embed(self, examples: StreamExamples) -> Tensor:
        """The logits, ``[N, C]``."""
        return examples.measured(frozenset({Need("logits")}), _class_logits)


def _class_logits(view: View, batch: Batch) -> Tensor:
    logits = cast(LanguageView, view).logits
    assert logits is not None
    if logits.shape[1] != 1:
        raise ValueError(
            f"ClassScores reads one class per example, and these have {logits.shape[1]}; accepted is a classifier. "
            "Use HiddenStates for texts."
        )
    return logits[:, 0].float()
