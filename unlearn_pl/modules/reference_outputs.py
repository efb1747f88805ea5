"""Outputs of the reference model on the views of a module."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from torch import Tensor, nn

from unlearn_pl.references import Reference
from unlearn_pl.types import Batch, Needs, View

Fields = Mapping[str, Tensor | dict[int, Tensor]]


class ComparedModule(Protocol):
    """A module with a model and perhaps a reference."""

    model: nn.Module | None

    @property
    def reference(self) -> Reference | None:
        """Source of the reference model's outputs."""


class ReferenceOutputs:
    """The ``ref_*`` fields of views; computed once per micro-batch where a step evaluates the same data many times.

    Args:
        module: the module, with its reference and its model.
    """

    def __init__(self, module: ComparedModule) -> None:
        self._module = module
        self._kept: dict[tuple[str, int], Fields] | None = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the fields of every micro-batch until the end; the caller keeps the micro-batches alive."""
        self._kept = {}
        try:
            yield
        finally:
            self._kept = None

    def fields(self, stream: str, batch: Batch, needs: Needs) -> Fields:
        """The ``ref_*`` fields among ``needs``; empty without a reference.

        Args:
            stream: name of the stream.
            batch: one of its micro-batches.
            needs: union of the needs of the stream's objectives.
        """
        module = self._module
        if module.reference is None or not any(need.reference for need in needs):
            return {}
        assert module.model is not None
        if self._kept is None:
            return module.reference.annotate(stream, batch, needs, module.model)
        if (key := (stream, id(batch))) not in self._kept:
            self._kept[key] = module.reference.annotate(stream, batch, needs, module.model)
        return self._kept[key]

    def complete(self, stream: str, batch: Batch, needs: Needs, view: View, fields: Fields) -> None:
        """Set ``fields`` on a view, and those that depend on the model's own forward.

        Args:
            stream: name of the stream.
            batch: its micro-batch.
            needs: union of the needs of the stream's objectives.
            view: the forward of the model on ``batch``.
            fields: from :meth:`fields`.
        """
        for field, value in fields.items():
            setattr(view, field, value)
        if self._module.reference is not None:
            self._module.reference.complete(stream, batch, needs, view)
