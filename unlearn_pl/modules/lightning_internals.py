"""All uses of Lightning and PyTorch beyond their public interfaces.

Each name has a test in ``tests/modules/test_lightning_internals.py`` that says what breaks without it.
"""

import functools
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.strategies.fsdp import _METADATA_FILENAME
from lightning.pytorch.core.optimizer import _configure_optimizers, _configure_schedulers_automatic_opt
from lightning.pytorch.core.saving import CHECKPOINT_PAST_HPARAMS_KEYS
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.seed import isolate_rng
from lightning.pytorch.utilities.types import LRSchedulerConfig
from torch import nn


def attached_trainer(module: pl.LightningModule) -> pl.Trainer | None:
    """The Trainer that runs ``module``; None outside of one, where the public property raises."""
    return module._trainer


def attached_datamodule(trainer: pl.Trainer) -> pl.LightningDataModule | None:
    """The data module that ``trainer`` was given; None if plain data loaders were given."""
    return getattr(trainer, "datamodule", None)  # the attribute is missing until there is one


def returns_weights_alone(strategy: Strategy) -> bool:
    """Whether ``fit`` runs in processes that Lightning starts from this one, which keep the state of the Trainer."""
    return isinstance(strategy.launcher, _MultiProcessingLauncher)


def uses_static_graph(strategy: Strategy) -> bool:
    """Whether DDP was told that every step has the same graph."""
    return isinstance(strategy, DDPStrategy) and bool(strategy._ddp_kwargs.get("static_graph"))


def gradients_are_bucket_views(strategy: Strategy) -> bool:
    """Whether ``.grad`` is memory of DDP's buckets, which the next backward pass writes again."""
    return isinstance(strategy, DDPStrategy) and bool(strategy._ddp_kwargs.get("gradient_as_bucket_view"))


def tensor_parallel_size(strategy: ModelParallelStrategy) -> int | str:
    """Ranks that share every example, as given to the strategy (``"auto"`` before it is set up)."""
    return strategy._tensor_parallel_size


def set_data_parallel_size(strategy: ModelParallelStrategy, size: int) -> None:
    """Set the number of ranks that see different examples, once it is known."""
    strategy._data_parallel_size = size


def load_checked(strategy: Strategy, check: Callable[[object], None]) -> None:
    """Let ``strategy`` call ``check`` with the path of every checkpoint before it reads it.

    No hook of the module is told the path: Lightning keeps it to itself until the file has been unpickled.
    """
    load = strategy.load_checkpoint
    if getattr(load, "func", None) is _checked_load:
        load = load.args[0]  # type: ignore[attr-defined]  # of an earlier module
    strategy.load_checkpoint = functools.partial(_checked_load, load, check)  # type: ignore[method-assign]


def _checked_load(
    load: Callable[..., dict[str, Any]], check: Callable[[object], None], checkpoint_path: object, **kwargs: Any
) -> dict[str, Any]:
    check(checkpoint_path)
    return load(checkpoint_path, **kwargs)


def read_optimizers(module: pl.LightningModule, read: Callable[[object], object]) -> None:
    """Let ``read`` see, and replace, what ``module.configure_optimizers`` returns to Lightning.

    Under manual optimization Lightning drops what it says about schedulers: monitors, and how plateaus are handled. The
    hook may be a subclass's, a mixin's or an instance's own, so it is replaced on the instance.
    """
    configure = module.configure_optimizers
    if getattr(configure, "func", None) is not _configured_and_read:
        module.configure_optimizers = functools.partial(  # type: ignore[method-assign]
            _configured_and_read, configure, read
        )


def _configured_and_read(configure: Callable[[], object], read: Callable[[object], Any]) -> Any:
    return read(configure())


def parsed_optimizers(
    configured: Any, complete: Callable[[Any], Any] = lambda scheduler: scheduler
) -> tuple[list[Any], list[LRSchedulerConfig]]:
    """Optimizers and schedulers as Lightning understands them under automatic optimization.

    Args:
        configured: what ``configure_optimizers`` returned.
        complete: called with every scheduler, or the dictionary that holds it, before defaults are filled in.

    Raises:
        ValueError: with Lightning's own message, if it does not understand them.
    """
    try:
        optimizers, schedulers, monitor = _configure_optimizers(configured)
        return optimizers, _configure_schedulers_automatic_opt([complete(each) for each in schedulers], monitor)
    except MisconfigurationException as error:
        raise ValueError(f"configure_optimizers: {error}") from error


def peeked(checkpoint_path: object) -> Mapping[str, Any]:
    """What a checkpoint holds beside weights and optimizer states, before a strategy restores anything of it.

    Strategies that shard the model restore weights and optimizers while they read the file.

    Args:
        checkpoint_path: a file, or a folder with shards and a file for the rest.

    Returns:
        Nothing for a path, or objects, that only the strategy itself can judge.
    """
    path = Path(str(checkpoint_path))
    rest = path if path.is_file() else path / _METADATA_FILENAME
    try:
        return torch.load(rest, map_location="cpu", weights_only=True, mmap=path.is_file())
    except (FileNotFoundError, pickle.UnpicklingError):
        return {}


def written_record(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters that Lightning would build a module from, those under their former names included."""
    found: dict[str, Any] = {}
    for key in (*CHECKPOINT_PAST_HPARAMS_KEYS, pl.LightningModule.CHECKPOINT_HYPER_PARAMS_KEY):
        found.update(checkpoint.get(key, {}))
    return found


@contextmanager
def buffers_keep_their_type(module: nn.Module) -> Iterator[None]:
    """Within the context, casts of ``module`` leave the dtypes of its buffers unchanged; their devices may change."""
    exact = [(m, name, buffer) for m in module.modules() for name, buffer in m.named_buffers(recurse=False)]
    yield
    for owner, name, buffer in exact:
        moved = owner._buffers[name]
        assert isinstance(moved, torch.Tensor)
        owner._buffers[name] = buffer.to(moved.device)


def draw_as_without_interruption(trainer: pl.Trainer) -> None:
    """Let the loops of a run that resumes draw the random numbers that they would have drawn without interruption.

    * Lightning makes an iterator over the training batches at the beginning of every epoch but the first; loaders draw
      their order, and the seeds of their workers, from it. In a run that resumes there, it was made too early.
    * In the middle of an epoch, Lightning skips a validation that was due, for which it makes iterators as well.

    Args:
        trainer: about to begin its first epoch, with the states of random generators restored.
    """
    fit_loop, loop = trainer.fit_loop, trainer.fit_loop.epoch_loop
    done = loop.batch_progress.current.processed
    ends_epoch = fit_loop.restarted_mid_epoch and loop.restarted_on_last  # with no batch left, before the next one
    begins_epoch = not done or (done >= trainer.num_training_batches and not ends_epoch)
    if fit_loop._data_fetcher is not None and loop.batch_progress.total.processed and begins_epoch:
        iter(fit_loop._data_fetcher)
    skip = loop.val_loop.increment_progress_to_evaluation_end
    if getattr(skip, "func", None) is not _isolated:
        loop.val_loop.increment_progress_to_evaluation_end = functools.partial(_isolated, skip)  # type: ignore[method-assign]


def _isolated(call: Callable[[], None]) -> None:
    with isolate_rng():
        call()


def correct_loop_progress(loops: Mapping[str, Any]) -> None:
    """Correct, in place, the loop progress in a checkpoint, so that training can resume.

    * After the last epoch, Lightning counts its batches as those of the next one too, which would then end at once
      when training resumes.
    * When ``max_steps`` ended the run inside an epoch, Lightning counts that epoch as done once ``fit`` has returned.

    Args:
        loops: the checkpoint's entry ``loops``.
    """
    fit = loops.get("fit_loop", {})
    batches, epochs = fit.get("epoch_loop.batch_progress"), fit.get("epoch_progress")
    if batches is None or epochs is None or epochs["total"]["completed"] < epochs["total"]["ready"]:
        return
    if batches["is_last_batch"]:
        batches["current"] = dict.fromkeys(batches["current"], 0)
        batches["is_last_batch"] = False
    else:
        for counts in (epochs["total"], epochs["current"]):
            counts["processed"] -= 1
            counts["completed"] -= 1
