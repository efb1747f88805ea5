"""Descent of every objective under the actual change of the weights, after the optimizer."""

from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from unlearn_pl.gradients import Row, RowObserver, gramian, local
from unlearn_pl.modules import UnlearningModule


class ConflictMonitor(pl.Callback, RowObserver):
    """Logs ``train/descent/{objective}`` = ``-cos(g_k, change of the weights)``: positive where objective k descends.

    Clipping, momentum, Adam's preconditioner and weight decay all turn the direction of the combiner, so the guarantee
    of a common descent direction has to be checked on the weights themselves.

    Nothing is logged without whole gradient rows: for combiners that need none
    (:class:`~unlearn_pl.combiners.Scalarization`), with ``gramian="sketch"``, with another ``row_storage`` than
    ``WholeRows``, and at steps that reuse weights (``refresh_every``). The value is NaN for an objective whose gradient
    is zero, such as a divergence from the reference model at the first step.

    Args:
        every_n_steps: steps between measurements. Each one costs a copy of the weights and of every gradient row.

    Raises:
        ValueError: if ``every_n_steps`` is not positive.
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps must be 1 or more, got {every_n_steps}.")
        self.every_n_steps = every_n_steps
        self._seen = 0
        self._rows: dict[str, Row] = {}
        self._before: list[Tensor] = []
        self._parameters: Sequence[nn.Parameter] = ()

    def on_rows(self, rows: Mapping[str, Row], weights: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """Copy the rows and the weights, if this step is measured and not skipped.

        Args:
            rows: objective to its gradient row, one tensor or None per parameter.
            weights: ``[K]`` in the order of ``rows``; all 0 for a skipped step.
            parameters: the parameters of the rows, not yet updated.
        """
        self._seen += 1
        if (self._seen - 1) % self.every_n_steps == 0 and weights.any():
            self._rows = {name: [None if g is None else local(g).clone() for g in row] for name, row in rows.items()}
            self._before = [local(p.detach()).clone() for p in parameters]
            self._parameters = parameters

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the cosines between the copied rows and the change of the weights."""
        if not self._before:
            return
        assert isinstance(pl_module, UnlearningModule)  # other modules call no on_rows
        change: Row = [local(p.detach()) - before for p, before in zip(self._parameters, self._before, strict=True)]
        products = gramian([change, *self._rows.values()])
        if trainer.world_size > 1 and any(isinstance(p, DTensor) for p in self._parameters):
            torch.distributed.all_reduce(products)
        norms = products.diagonal().sqrt()
        descent = (-products[0] / (norms[0] * norms)).tolist()[1:]
        metrics = {f"train/descent/{name}": value for name, value in zip(self._rows, descent, strict=True)}
        pl_module.log_dict(metrics, logger=False, batch_size=1)
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=pl_module.windows_closed)
        self._rows, self._before, self._parameters = {}, [], ()
