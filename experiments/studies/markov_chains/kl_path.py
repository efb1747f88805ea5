"""The distance from every chain, along the path of training."""

from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from experiments.studies.markov_chains.data_module import CHAINS
from experiments.studies.markov_chains.transition_kl import TransitionKL
from unlearn_pl.models.modes import evaluation_mode


class KLPath(pl.Callback):
    """Measures the model on the test sequences of every chain: after some of its steps, and when training has ended.

    Logs ``val/kl/{chain}``.

    Attributes:
        path: a dictionary per measurement: ``step`` and the KL divergence of each chain.

    Args:
        steps: numbers of optimizer steps after which to measure; 0 is before the first.
    """

    def __init__(self, steps: Sequence[int] = (0,)) -> None:
        if any(step < 0 for step in steps):
            raise ValueError(f"steps={list(steps)} must be 0 or more.")
        self.steps = frozenset(steps)
        self.path: list[dict[str, float]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the model as it was given."""
        self.path = []
        if 0 in self.steps:
            self._measure(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure when it is time."""
        if pl_module.windows_closed in self.steps:
            self._measure(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the result."""
        self._measure(trainer, pl_module)

    def _measure(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        step: int = pl_module.windows_closed  # type: ignore[assignment]
        if self.path and self.path[-1]["step"] == step:
            return  # the micro-batches of a step share its number
        distances = chain_distances(pl_module.model, trainer.datamodule.val_dataloader())  # type: ignore[attr-defined, arg-type]
        self.path.append({"step": step, **distances})
        for logger in trainer.loggers:
            logger.log_metrics({f"val/kl/{chain}": value for chain, value in distances.items()}, step=step)


@torch.no_grad()
def chain_distances(model: nn.Module, loaders: Mapping[str, DataLoader]) -> dict[str, float]:
    """Chain to the mean KL divergence of its transitions from the model's, on the sequences of its loader."""
    device = next(model.parameters()).device
    distances = {}
    with evaluation_mode(model):
        for chain, loader in loaders.items():
            metric = TransitionKL(CHAINS[chain].transitions()).to(device)
            for batch in loader:
                ids, mask = batch["input_ids"].to(device), batch["attention_mask"].to(device)
                metric.update(model(input_ids=ids, attention_mask=mask).logits, ids, mask)
            distances[chain] = metric.compute().item()
    return distances
