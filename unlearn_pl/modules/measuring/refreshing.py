"""Streams that choose what they show under the current model, before an epoch."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.models.sharding import reshard
from unlearn_pl.modules.fitted import FittedModule
from unlearn_pl.types import Batch, LanguageView


def refresh_streams(module: FittedModule) -> None:
    """Let the streams choose anew what they show, where it is time to."""
    if module.stream_data is not None:
        module.stream_data.refresh(module.trainer.current_epoch, partial(answer_losses, module))


@torch.no_grad()
def answer_losses(module: FittedModule, batches: Sequence[Batch]) -> Tensor:
    """Mean negative log-likelihood per scored token of every example, by forward passes in evaluation mode.

    Every rank runs a part of the batches. Under FSDP2 a forward is a collective operation, so ranks that run out of
    batches repeat one, which does not count.

    Args:
        module: its model is scored.
        batches: the same on every rank, ``n`` examples in all.

    Returns:
        ``[n]`` fp64 on the CPU, equal on all ranks.

    Raises:
        ValueError: if the model's view has no log-probabilities of labels.
    """
    trainer, model = module.trainer, module.model
    assert model is not None
    sizes = [len(batch["index"]) for batch in batches]
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    losses = torch.zeros(sum(sizes), dtype=torch.float64, device=trainer.strategy.root_device)
    with evaluation_mode(model):
        for first in range(0, len(batches), trainer.world_size):
            mine = first + trainer.global_rank
            of_batch = _losses(module, batches[min(mine, len(batches) - 1)])
            if mine < len(batches):
                losses[starts[mine] : starts[mine] + sizes[mine]] = of_batch
    reshard(model)
    if trainer.world_size > 1:
        torch.distributed.all_reduce(losses)
    return losses.cpu()


def _losses(module: FittedModule, batch: Batch) -> Tensor:
    assert module.model is not None
    batch = module.trainer.strategy.batch_to_device(batch)
    with module.trainer.precision_plugin.forward_context():
        view = module.spec.forward(module.model, batch, frozenset())
    if not isinstance(view, LanguageView):
        raise ValueError(f"Views are chosen by log-probabilities of labels, which {type(view).__name__} does not have.")
    return -(view.logps * view.mask).sum(dim=-1).double() / view.mask.sum(dim=-1).clamp(min=1)
