"""Specifications of models: how a kind of model is built, run, counted and evaluated."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from unlearn_pl.recording import Recorded, arguments_of
from unlearn_pl.types import Batch, Detail, LanguageView, MeanOver, Needs, Reads, View

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from unlearn_pl.models.model_shape import ModelShape


@dataclass(frozen=True)
class EvaluationRequest:
    """Extra outputs that callbacks request from one evaluation dataloader.

    Attributes:
        details: extra outputs per scored token.
        max_new_tokens: length of generated answers; None for the module's own.
        stop: texts before which generated answers are cut off.
        reads: which outputs are read; None, for all, if no callback has declared it.
    """

    details: frozenset[Detail] = frozenset()
    max_new_tokens: int | None = None
    stop: Sequence[str] = ()
    reads: Reads | None = None


def _no_tokenizer() -> "PreTrainedTokenizerBase":
    raise ValueError("There is no tokenizer. Give the data module one, or make the module from the model's name.")


@dataclass(frozen=True)
class EvaluationSetting:
    """What an evaluation uses besides the model.

    Attributes:
        tokenizer: returns the tokenizer, or raises ValueError if there is none.
        max_new_tokens: length of generated answers, unless a request says otherwise.
        sharded: every forward is a collective operation of all ranks.
    """

    tokenizer: Callable[[], "PreTrainedTokenizerBase"] = field(default=_no_tokenizer)
    max_new_tokens: int = 200
    sharded: bool = False


class ModelSpec(Recorded, ABC):
    """A kind of model as the modules see it; subclasses implement :meth:`build`, :meth:`forward` and :meth:`count`.

    Methods (presets) are written in terms of views: each runs on every kind of model whose :meth:`forward` provides
    the fields that its objectives need. A classifier whose view is a :class:`~unlearn_pl.types.LanguageView` with one
    label per example can be trained with all losses of language models.

    Attributes:
        name: name or path that the model is loaded from; None if there is none.
        saved_parts: substrings of the names of the weights that a checkpoint keeps; empty for all of them.
        compared: field of the view, ``[B, ...]``, in which an exported model is compared with the trained one; None
            for no comparison.
        view: the kind of view that :meth:`forward` returns, by which methods choose their losses.
    """

    view: ClassVar[type[View]] = LanguageView
    name: str | None = None
    saved_parts: Sequence[str] = ()
    compared: ClassVar[str | None] = None

    @abstractmethod
    def build(self, precision_dtype: torch.dtype | None = None) -> nn.Module:
        """A new model with the weights before unlearning, in training mode; the same weights at every call.

        Args:
            precision_dtype: dtype of the weights that the Trainer's precision implies; None for float32.
        """

    @abstractmethod
    def forward(self, model: nn.Module, batch: Batch, needs: Needs) -> View:
        """One forward of ``model`` on a micro-batch.

        Args:
            model: the trained model or a reference model.
            batch: a micro-batch of one stream.
            needs: fields of the view that are read; the caller sets those of the reference model.
        """

    @abstractmethod
    def count(self, batch: Batch, mean_over: MeanOver) -> Tensor:
        """What a loss over ``batch`` averages over, before any forward: equal to the view's own count, ``[]`` fp64.

        Args:
            batch: a micro-batch of one stream.
            mean_over: tokens or sequences (pixels or images, ...).
        """

    def evaluate(
        self, model: nn.Module, batch: Batch, request: EvaluationRequest, setting: EvaluationSetting
    ) -> Mapping[str, Any] | None:
        """The outputs of one evaluation batch that callbacks read; None if nothing is read.

        Raises:
            NotImplementedError: for kinds of models without an evaluation.
        """
        raise NotImplementedError(f"{type(self).__name__} has no evaluation: write its method `evaluate`.")

    def exported(self, folder: str) -> Self:
        """The specification that loads a model of this kind from the folder that it was exported to.

        By default, the same one with ``weights=folder``.

        Args:
            folder: as written by :func:`~unlearn_pl.models.save_pretrained`, with :meth:`export_files`.
        """
        return type(self)(**(arguments_of(self) | {"weights": folder}))

    def export_files(self) -> Mapping[str, str]:
        """Further files of an exported model, such as settings of its inputs: name to content; by default none."""
        return {}

    def check(self, model: nn.Module, needs: Mapping[str, Needs], longest: int) -> None:
        """Check that the model provides what the objectives need, for examples of this length; by default does nothing.

        Args:
            model: the model, as built.
            needs: objective name to the fields that it needs.
            longest: length of the longest example of the data, 0 if unknown.

        Raises:
            ValueError: naming the objective or the lengths.
        """
        return

    def freeze_unreached(self, model: nn.Module) -> None:
        """Freeze the parameters that no loss of any data can reach, before training; by default none.

        Args:
            model: the model, as built.
        """
        return

    def check_tokenizer(self, model: nn.Module, tokenizer: "PreTrainedTokenizerBase") -> None:
        """Check that the model has an embedding of every token that the data may hold; by default does nothing.

        Args:
            model: the model, as built.
            tokenizer: the tokenizer of the data.

        Raises:
            ValueError: naming the tokens.
        """
        return

    def tokenizer(self) -> "PreTrainedTokenizerBase | None":
        """The tokenizer that comes with the model; None if there is none."""
        return None

    def memory_shape(self, model: nn.Module) -> "ModelShape | None":
        """The sizes that determine a step's memory; None if it cannot be estimated."""
        return None
