"""The rows of a stream as selectors and embedders see them: measured with a model, as texts, or by a column."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn

from unlearn_pl.data.selection.pool import Statistic
from unlearn_pl.models.adapters import STARTS_AT_ZERO
from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.results.fingerprint import weights_fingerprint
from unlearn_pl.types import Batch, InitialModel, Needs


class LoadedModel:
    """The module's model with its weights before training, built when it is first needed.

    Args:
        given: how to build and run it; None where the data module has no module.
    """

    def __init__(self, given: InitialModel | None) -> None:
        self._given = given

    @cached_property
    def _model(self) -> nn.Module:
        if self._given is None:
            raise ValueError(
                "A selection measures its rows with the model of the module, but the data module is used without one. "
                "Accepted: a Trainer with a module of this library, a sentence encoder "
                "(SelectedSource(embed=SentenceEncoder('folder'))), or a selector that reads no model, such as Random."
            )
        with isolate_rng(), torch.device("cpu"):  # only one rank builds it
            return self._given.build()

    def fingerprint(self) -> str:
        """SHA-256 of the weights; the random factors of adapters do not count."""
        return weights_fingerprint(self._model, STARTS_AT_ZERO)

    @torch.no_grad()
    def measure(self, batches: Iterator[Batch], needs: Needs, statistic: Statistic) -> Tensor:
        """``statistic`` of the views of all ``batches``, one after another, on the CPU, in evaluation mode."""
        model, given = self._model, self._given
        assert given is not None
        before = next(model.parameters()).device
        with evaluation_mode(model.to(given.device)):
            parts = [self._of(batch, needs, statistic) for batch in batches]
        model.to(before)
        return torch.cat(parts)

    def _of(self, batch: Batch, needs: Needs, statistic: Statistic) -> Tensor:
        assert self._given is not None
        there = _on(batch, self._given.device)
        return statistic(self._given.forward(self._model, there, needs), there).cpu()


@dataclass(frozen=True)
class StreamExamples:
    """N examples of a stream.

    Attributes:
        name: what to call the stream in messages.
        dataset: the examples.
        batches: all examples in order, in batches.
        model: measures them.
        texts: the N texts; raises ValueError where examples are none.
        column: the N values of a column; raises ValueError where there is no such column.
    """

    name: str
    dataset: Any
    batches: Callable[[], Iterator[Batch]]
    model: LoadedModel
    texts: Callable[[], Sequence[str]]
    column: Callable[[str], Sequence[object]]

    def __len__(self) -> int:
        return len(self.dataset)

    def measured(self, needs: Needs, statistic: Statistic) -> Tensor:
        """``statistic`` of every example's view, ``[N, ...]``."""
        return self.model.measure(self.batches(), needs, statistic)

    def labels(self, column: str | None) -> Sequence[object]:
        """The values of ``column``; None for the class that the view of a classifier has.

        Raises:
            ValueError: if there is no such column, or the examples have no class.
        """
        if column is not None:
            return self.column(column)
        labels = self.measured(frozenset(), lambda view, _: view.labels)  # type: ignore[attr-defined]
        if labels.shape[-1] != 1:
            raise ValueError(
                f"The examples of {self.name!r} are texts without a class; accepted is the column of their rows that "
                "holds one, as in label='author'."
            )
        return labels.flatten().tolist()

    def fingerprint(self) -> str:
        """SHA-256 of all examples: that of the data set, or of the tensors of its batches."""
        if hasattr(self.dataset, "fingerprint"):
            return str(self.dataset.fingerprint())
        digest = hashlib.sha256()
        for batch in self.batches():
            for name, tensor in sorted(batch.items()):
                digest.update(f"{name}{list(tensor.shape)}{tensor.dtype}".encode())
                digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()


def _on(batch: Mapping[str, Any], device: torch.device) -> Batch:
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}
