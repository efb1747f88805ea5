"""All uses of Lightning and PyTorch beyond their public interfaces.

Each name has a test in ``tests/modules/test_lightning_internals.py`` that says what breaks without it.
"""

import functools
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.fabric.strategies.fsdp import _METADATA_FILENAME
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.core.optimizer import _configure_optimizers, _configure_schedulers_automatic_opt
from lightning.pytorch.core.saving import CHECKPOINT_PAST_HPARAMS_KEYS
from lightning.pytorch.plugins.io import AsyncCheckpointIO, TorchCheckpointIO
from lightning.pytorch.plugins.io.wrapper import _WrappingCheckpointIO
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException
from lightning.pytorch.utilities.seed import isolate_rng
from lightning.pytorch.utilities.types import LRSchedulerConfig
from torch import nn

from unlearn_pl.results.checkpoint_file import check_file, damaged, readable

REST_OF_FOLDER = _METADATA_FILENAME
"""File of a checkpoint folder that holds all but weights and optimizer states."""


def attached_trainer(module: pl.LightningModule) -> pl.Trainer | None:
    """The Trainer that runs ``module``; None outside of one, where the public property raises."""
    return module._trainer


def attached_datamodule(trainer: pl.Trainer) -> pl.LightningDataModule | None:
    """The data module that ``trainer`` was given; None if plain data loaders were given."""
    return getattr(trainer, "datamodule", None)  # the attribute is missing until there is one


def transfer_and_see(module: Any, batch: Any, device: torch.device | None = None, dataloader_idx: int = 0) -> Any:
    """Lightning's transfer of a batch; ``module.after_transfer(batch, moved)`` then sees it before and after.

    Stands as ``_apply_batch_transfer_handler`` in a module: hooks would be skipped where the data has its own.
    """
    moved = pl.LightningModule._apply_batch_transfer_handler(module, batch, device, dataloader_idx)
    module.after_transfer(batch, moved)
    return moved


def is_compiled(module: pl.LightningModule) -> bool:
    """Whether the Trainer was given ``torch.compile(module)``, which it unwraps."""
    return module._compiler_ctx is not None


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
    load: Callable[..., dict[str, Any]],
    check: Callable[[object], None],
    checkpoint_path: object,
    weights_only: bool | None = None,
    **kwargs: Any,
) -> dict[str, Any]:
    check(checkpoint_path)
    with readable(str(checkpoint_path)):
        return load(checkpoint_path, weights_only=weights_only is not False, **kwargs)


def basic_checkpoint_io(strategy: Strategy) -> CheckpointIO:
    """What writes and reads the checkpoint files of ``strategy``, inside all wrappers."""
    io = strategy.checkpoint_io
    while isinstance(io, _WrappingCheckpointIO) and io.checkpoint_io is not None:
        io = io.checkpoint_io
    return io


def replace_checkpoint_io(strategy: Strategy, make: Callable[[], CheckpointIO]) -> None:
    """Let what ``make`` returns write and read the checkpoint files, where Lightning's own would."""
    outer: _WrappingCheckpointIO | None = None
    io = strategy.checkpoint_io
    while isinstance(io, _WrappingCheckpointIO) and io.checkpoint_io is not None:
        outer, io = io, io.checkpoint_io
    if type(io) is not TorchCheckpointIO:
        return
    if outer is None:
        strategy.checkpoint_io = make()
    else:
        outer._checkpoint_io = make()  # the public setter only fills an empty place


def remove_after_saving(strategy: Strategy) -> None:
    """Let a ``CheckpointIO`` that saves in the background remove in the background, too.

    Lightning's removes the previous checkpoint at once, when the next one is not written yet.
    """
    io = strategy.checkpoint_io
    while isinstance(io, _WrappingCheckpointIO):
        if isinstance(io, AsyncCheckpointIO) and getattr(io.remove_checkpoint, "func", None) is not _removed_in_turn:
            io.remove_checkpoint = functools.partial(  # type: ignore[method-assign]
                _removed_in_turn, io, io.remove_checkpoint
            )
        io = io.checkpoint_io  # type: ignore[assignment]


def _removed_in_turn(io: AsyncCheckpointIO, remove: Callable[..., None], *args: Any, **kwargs: Any) -> None:
    if io._executor is None:
        remove(*args, **kwargs)
    else:
        io._executor.submit(remove, *args, **kwargs)  # it has one thread, which takes one after the other


def writes_folders(strategy: ModelParallelStrategy) -> bool:
    """Whether checkpoints that ``strategy`` writes are folders, with a file per rank."""
    return strategy._save_distributed_checkpoint


def replace_in_model_checkpoint(
    callback: ModelCheckpoint,
    link: Callable[[str, str], None],
    last: Callable[[set[str], Path, str], set[str]],
) -> None:
    """Replace, on the instance, how ``callback`` links and finds the last checkpoint, and when it saves by time.

    Args:
        callback: of a Trainer.
        link: called with a checkpoint and the path of the link to it, on rank 0.
        last: called with the checkpoints named "last" that were found, their folder and file extension; returns those
            to choose from.
    """
    if getattr(callback._find_last_checkpoints, "func", None) is _found_last:
        return  # was done
    if type(callback)._link_checkpoint is ModelCheckpoint._link_checkpoint:  # not a subclass's own
        callback._link_checkpoint = functools.partial(_linked, link)  # type: ignore[method-assign]
    callback._find_last_checkpoints = functools.partial(  # type: ignore[method-assign]
        _found_last, callback._find_last_checkpoints, callback, last
    )
    callback.on_train_batch_end = functools.partial(  # type: ignore[method-assign]
        _saved_in_time, callback.on_train_batch_end, callback
    )


def _linked(link: Callable[[str, str], None], trainer: pl.Trainer, filepath: str, linkpath: str) -> None:
    if trainer.is_global_zero and os.path.abspath(filepath) != os.path.abspath(linkpath):
        link(filepath, linkpath)
    trainer.strategy.barrier()


def _found_last(
    find: Callable[[pl.Trainer], set[str]],
    callback: ModelCheckpoint,
    last: Callable[[set[str], Path, str], set[str]],
    trainer: pl.Trainer,
) -> set[str]:
    found = find(trainer)
    folder = Path(str(callback._ModelCheckpoint__resolve_ckpt_dir(trainer)))  # type: ignore[attr-defined]
    return last(found, folder, callback.FILE_EXTENSION) if folder.is_dir() else found


def _saved_in_time(
    on_train_batch_end: Callable[..., None], callback: ModelCheckpoint, trainer: pl.Trainer, *args: Any, **kwargs: Any
) -> None:
    """The callback's hook, and after it what Lightning does under automatic optimization only: save by time."""
    on_train_batch_end(trainer, *args, **kwargs)
    interval, now = callback._train_time_interval, time.monotonic()
    if interval is None:
        return
    since = callback._last_time_checked
    waits = since is None or now - since < interval.total_seconds()
    if trainer.strategy.broadcast(waits):  # clocks differ between ranks
        return
    callback._last_time_checked = now
    if callback._should_skip_saving_checkpoint(trainer):
        return
    metrics = callback._monitor_candidates(trainer)
    if callback.monitor is not None and callback.monitor not in metrics:
        callback._defer_save_until_validation = True
        return
    callback._save_topk_checkpoint(trainer, metrics)
    callback._save_last_checkpoint(trainer, metrics)


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
        Nothing if there is no such file, or one of objects that only a strategy told to unpickle them can read.

    Raises:
        ValueError: if the file is torn or changed.
    """
    path = Path(str(checkpoint_path))
    rest = path if path.is_file() else path / _METADATA_FILENAME
    try:
        return torch.load(rest, map_location="cpu", weights_only=True, mmap=path.is_file())
    except FileNotFoundError:
        return {}
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        check_file(rest)
        if isinstance(error, pickle.UnpicklingError):
            return {}
        raise ValueError(damaged(rest, f"PyTorch cannot read it ({error})")) from error


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
    progress: Any = loop.batch_progress
    done = progress.current.processed
    ends_epoch = fit_loop.restarted_mid_epoch and loop.restarted_on_last  # with no batch left, before the next one
    begins_epoch = not done or (done >= trainer.num_training_batches and not ends_epoch)
    if fit_loop._data_fetcher is not None and progress.total.processed and begins_epoch:
        iter(fit_loop._data_fetcher)
    skip = loop.val_loop.increment_progress_to_evaluation_end
    if getattr(skip, "func", None) is not _isolated:
        loop.val_loop.increment_progress_to_evaluation_end = functools.partial(_isolated, skip)  # type: ignore[method-assign]


def _isolated(call: Callable[[], None]) -> None:
    with isolate_rng():
        call()


def end_on_all_ranks_together(trainer: pl.Trainer) -> None:
    """Let SIGTERM end ``fit`` on all ranks before the same step, whichever rank it reaches, and whenever it does.

    Lightning calls a collective inside the handler of the signal, that is between any two operations of a step: unless
    all ranks get it at the same place, they wait for each other forever, and nothing is saved. And what only another
    rank than the first has got, ends that one alone.
    """
    connector = trainer._signal_connector
    connector.noticed_sigterm = False  # type: ignore[attr-defined]
    connector._sigterm_notifier_fn = functools.partial(_noticed, trainer)  # type: ignore[method-assign]
    loop = trainer.fit_loop.epoch_loop
    loop._broadcast_sigterm_tensor = functools.partial(_ended_together, trainer)  # type: ignore[method-assign]


def _noticed(trainer: pl.Trainer, signum: int, _: object) -> None:
    connector, launcher = trainer._signal_connector, trainer.strategy.launcher
    if launcher is not None and not connector.noticed_sigterm:  # type: ignore[attr-defined]
        launcher.kill(signum)
    connector.noticed_sigterm = True  # type: ignore[attr-defined]
    if trainer.world_size == 1 or trainer.state.fn != TrainerFn.FITTING:
        connector.received_sigterm = True  # the loops look at it between two batches


def _ended_together(trainer: pl.Trainer) -> None:
    """Called before every step on several ranks."""
    connector = trainer._signal_connector
    noticed = torch.tensor(int(connector.noticed_sigterm), device=trainer.strategy.root_device)  # type: ignore[attr-defined]
    torch.distributed.all_reduce(noticed, op=torch.distributed.ReduceOp.MAX)
    if noticed.item():
        connector.received_sigterm = True
        raise SIGTERMException(128 + signal.SIGTERM)


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
