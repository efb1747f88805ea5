"""The runtime of a module under a Lightning Trainer."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from lightning.pytorch.strategies import DDPStrategy, ParallelStrategy
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from unlearn_pl.gradients import Row
from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.models.sharding import reshard
from unlearn_pl.modules.fitted import FittedModule
from unlearn_pl.modules.lightning_internals import gradients_are_bucket_views
from unlearn_pl.types import Batch, MeanOver, View


class LightningRuntime:
    """The :class:`~unlearn_pl.gradients.Runtime` of a module that is being fitted.

    Args:
        module: the module, with its model and optimizer.
    """

    def __init__(self, module: FittedModule) -> None:
        self._module = module
        self._forward_only = False

    @property
    def model(self) -> nn.Module:
        """The module's model."""
        assert self._module.model is not None
        return self._module.model

    @property
    def parameters(self) -> Sequence[nn.Parameter]:
        """The optimizer's parameters that require a gradient, in its order."""
        return [p for group in self.optimizer.param_groups for p in group["params"] if p.requires_grad]

    @property
    def names(self) -> Sequence[str]:
        """The names of ``parameters``, as ``model.named_parameters()`` gives them."""
        assert self._module.model is not None
        names = {parameter: name for name, parameter in self._module.model.named_parameters()}
        return [names[parameter] for parameter in self.parameters]

    @property
    def optimizer(self) -> Optimizer:
        """The module's optimizer, without Lightning's wrapper."""
        return self._module.optimizers(use_pl_optimizer=False)

    @property
    def world_size(self) -> int:
        """Number of processes."""
        return self._module.trainer.world_size

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return self._module.trainer.global_rank

    @property
    def sharded(self) -> bool:
        """Whether FSDP2 shards the parameters."""
        return any(isinstance(parameter, DTensor) for parameter in self.parameters)

    @property
    def clones_gradients(self) -> bool:
        """Whether ``.grad`` is memory of DDP's buckets."""
        return gradients_are_bucket_views(self._module.trainer.strategy)

    def view(self, stream: str, batch: Batch) -> View:
        """The module's own view, which subclasses may override."""
        view = self._module.view(stream, batch)
        if self._forward_only and self.sharded:
            assert self._module.model is not None
            reshard(self._module.model)  # or the next forward would use the weights before they are moved
        return view

    def count(self, batch: Batch, mean_over: MeanOver) -> Tensor:
        """What a loss over ``batch`` averages over: ``[]`` fp64."""
        return self._module.spec.count(batch, mean_over)

    def backward(self, loss: Tensor, retain_graph: bool) -> None:
        """Lightning's backward pass of ``loss []``, which prepares DDP's reduction."""
        self._module.manual_backward(loss, retain_graph=retain_graph)

    def no_sync(self) -> AbstractContextManager[None]:
        """Context in which gradients stay on their rank, where the strategy has one."""
        strategy = self._module.trainer.strategy
        return strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else nullcontext()

    @contextmanager
    def forward_only(self) -> Iterator[None]:
        """Evaluation mode; outputs of the reference model are kept until the end."""
        assert self._module.model is not None
        self._forward_only = True
        try:
            with evaluation_mode(self._module.model), self._module.reference_outputs.kept():
                yield
        finally:
            self._forward_only = False

    def reach_all(self) -> Tensor | None:
        """Under DDP, which waits for all parameters, a zero ``[]`` with a gradient of 0 for each of them; else None."""
        if not isinstance(self._module.trainer.strategy, DDPStrategy):
            return None
        return 0 * torch.stack([p.flatten()[0].float() for p in self.parameters]).sum()

    def mask(self, row: Row) -> None:
        """Apply the module's mask to ``row``, in place."""
        if self._module.mask is not None:
            self._module.mask.apply(self.names, row)

    def clip(self) -> None:
        """Clip the gradient in ``.grad``, as before an optimizer step."""
        self._module.clip_gradients(self.optimizer, self._module.gradient_clip_val, "norm")

    def on_rows(self, rows: Mapping[str, Row], weights: Tensor) -> None:
        """Call the module's hook of that name, with the weights ``[K]``."""
        self._module.on_rows(rows, weights)
