"""Base classes of gradient sources: from a window of data to one gradient per objective."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from unlearn_pl.gradients.geometry import one_block
from unlearn_pl.gradients.gradients import Gradients
from unlearn_pl.gradients.kept_rows import KeptRows
from unlearn_pl.gradients.replay import Replay
from unlearn_pl.gradients.rows import Row
from unlearn_pl.gradients.runtime import Runtime
from unlearn_pl.gradients.storage.row_storage import RowStorage
from unlearn_pl.gradients.storage.whole_rows import WholeRows
from unlearn_pl.gradients.summed_gradient import SummedGradient
from unlearn_pl.gradients.window import Window
from unlearn_pl.recording import Recorded


class GradientSource(Recorded, ABC):
    """Computes the gradients of a window; it may run the window several times, at different weights.

    The attributes describe what a source supports and what it costs; checks and the memory estimate read them.

    Attributes:
        keeps_rows: one gradient per objective is held until all are available.
        whole_rows: gradients can be read element by element.
        every_metric: products are available in metrics other than the Euclidean one.
        every_scope: products are available per block of parameters.
        plain: gradients are those at the current weights, so that their sum is the gradient of the sum of the losses.
        scatters: every rank keeps a part of each gradient.
        copies: number of copies of the trained weights that are held beside the gradients while the window runs.
        backpropagates: runs backward passes.
        num_directions: number of directions in which slopes are known; None where gradients are known in all.
    """

    keeps_rows: bool = True
    whole_rows: bool = True
    every_metric: bool = True
    every_scope: bool = True
    plain: bool = False
    scatters: bool = False
    copies: int = 0
    backpropagates: bool = True
    num_directions: int | None = None

    @abstractmethod
    def measure(self, window: Window, runtime: Runtime) -> Gradients:
        """The gradients of every objective's mean loss over the window and all ranks, masked.

        Args:
            window: the data of the step.
            runtime: forward and backward passes.
        """

    def observe(self, norms: Mapping[str, float]) -> None:
        """Called after a step that has solved, with the gradient norm of each objective, 0 for inactive ones."""
        return

    def reset(self) -> None:
        """Discard what earlier steps have left; by default there is nothing."""
        return

    def state_dict(self) -> dict[str, Any]:
        """State for :meth:`load_state_dict`: tensors and plain values only."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from ``state``."""
        return

    @abstractmethod
    def weighted_sum(self, window: Window, runtime: Runtime, weights: Mapping[str, float]) -> SummedGradient:
        """Leave ``sum_k w_k g_k`` in ``.grad``.

        Args:
            window: the data of the step.
            runtime: forward and backward passes.
            weights: name of the objective to its weight.
        """

    @property
    def turns(self) -> "Sequence[GradientSource]":
        """The sources that measure single steps; this one alone by default."""
        return [self]

    def concerns(self, optimizer: Optimizer, steps: int | None) -> Sequence[str]:
        """Warnings about a run that is about to start; by default none.

        Args:
            optimizer: steps along the gradients.
            steps: optimizer steps of the run, None if unknown.
        """
        return []

    def row_share(self, element_size: int, place: torch.device, world_size: int) -> float:
        """Memory of a kept gradient on the device, as a fraction of a whole one.

        Args:
            element_size: bytes per element of a gradient.
            place: device of the training.
            world_size: number of ranks.
        """
        return 1.0


class RowSource(GradientSource):
    """A source that computes whole gradients by backward passes; subclasses implement :meth:`rows`."""

    @abstractmethod
    def rows(self, replay: Replay) -> dict[str, Row]:
        """One row per objective, masked, averaged over the window and all ranks; stores the losses in ``replay``.

        Args:
            replay: runs the window.
        """

    @property
    def storage(self) -> RowStorage:
        """Keeps rows until all of them are available."""
        return WholeRows()

    def measure(self, window: Window, runtime: Runtime) -> Gradients:
        """The rows, as the storage keeps them."""
        replay = Replay(window, runtime, self.storage)
        rows = self.rows(replay)
        return KeptRows(replay.readings, rows, runtime, replay.storage)

    def weighted_sum(self, window: Window, runtime: Runtime, weights: Mapping[str, float]) -> SummedGradient:
        """The sum of the rows."""
        replay = Replay(window, runtime)
        rows = self.rows(replay)
        kept = KeptRows(replay.readings, rows, runtime, replay.storage)
        kept.combine(
            torch.tensor([[weights[name] for name in rows]], dtype=torch.float64), one_block(runtime.parameters)
        )
        return SummedGradient(replay.readings, runtime)
