"""Base class of objectives: a scalar loss on a LanguageView, always minimized."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from unlearn_pl.recording import Recorded
from unlearn_pl.types import AnswerView, LanguageView, MeanOver, Role, View


class Objective(Recorded, nn.Module, ABC):
    """A scalar loss that is *minimized*; losses to ascend include the minus sign.

    Subclasses set the class attributes and implement :meth:`loss`. They hold no trainable parameters (buffers are fine)
    and never call ``backward``, ``log`` or the model.

    Attributes:
        stream: name of the stream that is read, or several names; ``loss`` gets one view per name.
        role: whether the objective forgets or retains; two-block combiners add up the gradients of each role.
        needs: fields of :class:`~unlearn_pl.types.LanguageView` beyond ``logps`` that the loss reads:
            ``logits``, ``hidden.7`` (layer 7), ``ref_logps``, ``ref_logits``, ``ref_hidden.7``.
        mean_over: what the returned mean runs over, so that micro-batches and ranks can be averaged exactly.
        zero_at_reference: True when the gradient vanishes where the model equals the reference (a divergence).
            At the first step it is then numerical noise, which combiners measure and drop.
        reaches_all: False when the loss does not depend on every parameter, e.g. a loss on the states of an inner
            layer.
        compares_rows: True when the loss depends on which rows share a micro-batch, as a contrast does; its mean is
            then not that of the whole batch.

    Args:
        stream: overrides the class's ``stream``.
    """

    stream: str | tuple[str, ...] = "forget"
    role: Role = "forget"
    needs: frozenset[str] = frozenset()
    mean_over: MeanOver = "tokens"
    zero_at_reference: ClassVar[bool] = False
    reaches_all: ClassVar[bool] = True
    compares_rows: ClassVar[bool] = False

    def __init__(self, stream: str | None = None) -> None:
        super().__init__()
        if stream is not None:
            self.stream = stream

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that are read, in the order in which ``loss`` gets their views."""
        return (self.stream,) if isinstance(self.stream, str) else self.stream

    @property
    def progress_stream(self) -> str:
        """The stream whose answers the :meth:`progress` is about: by default the last."""
        return self.streams[-1]

    @property
    def progress_rises(self) -> bool:
        """Whether descending the loss is meant to raise the :meth:`progress`; by default for role ``retain``."""
        return self.role == "retain"

    # Typed with Any, so that type checkers accept a subclass's plain `loss(self, view: LanguageView)`.
    @abstractmethod
    def loss(self, *views: Any, **_: Any) -> Tensor:
        """The loss, a mean over ``views[0].count(self.mean_over)`` tokens or sequences.

        Args:
            views: one view per stream in ``streams``; most objectives take a single ``view``.

        Returns:
            ``[]``, fp32 or better; 0 (with a gradient of 0) for a view without labels.
        """

    def progress(self, *views: View) -> Tensor | None:
        """How far the objective is, in a unit that people understand: by default the probability of an answer.

        Args:
            views: one view per stream in ``streams``.

        Returns:
            ``[]``, a mean over the sequences of ``progress_stream``, without a gradient; None where only the loss says
            it.
        """
        view = views[self.streams.index(self.progress_stream)]
        return view.probability() if isinstance(view, AnswerView) else None

    def progress_kept(self, *views: View) -> Tensor | None:
        """:meth:`progress` relative to the reference model, per example; ``[]``, None without a reference."""
        view = views[self.streams.index(self.progress_stream)]
        return view.probability_kept() if isinstance(view, AnswerView) else None

    def forward(self, *views: LanguageView) -> Tensor:
        """Same as :meth:`loss`, ``[]``."""
        return self.loss(*views)
