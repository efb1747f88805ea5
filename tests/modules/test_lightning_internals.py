"""Each private name of ``lightning_internals``: a failing test says what has changed, and what it is used for."""

import signal
import threading
from datetime import timedelta

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import AsyncCheckpointIO, TorchCheckpointIO
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn

from tests import kit
from unlearn_pl.modules import lightning_internals as internals
from unlearn_pl.modules.lightning_internals import correct_loop_progress


def test_a_module_knows_its_trainer_only_inside_of_one():
    """``LightningModule._trainer``: None before a Trainer runs the module, where ``.trainer`` raises."""
    module = pl.LightningModule()
    assert internals.attached_trainer(module) is None
    with pytest.raises(RuntimeError):
        _ = module.trainer
    module.trainer = trainer = kit.trainer()
    assert internals.attached_trainer(module) is trainer


def test_options_of_ddp_are_kept_by_the_strategy():
    """``DDPStrategy._ddp_kwargs``: what ``DistributedDataParallel`` will be given."""
    assert internals.uses_static_graph(DDPStrategy(static_graph=True))
    assert not internals.uses_static_graph(DDPStrategy())
    assert internals.gradients_are_bucket_views(DDPStrategy(gradient_as_bucket_view=True))
    assert not internals.gradients_are_bucket_views(DDPStrategy())


def test_strategies_that_start_processes_of_their_own_have_a_launcher_for_them():
    """``_MultiProcessingLauncher``: gives weights and metrics back to the process that has called ``fit``."""
    started = kit.trainer(strategy="ddp_spawn").strategy
    started._configure_launcher()
    assert internals.returns_weights_alone(started)
    assert not internals.returns_weights_alone(kit.trainer().strategy)


def test_a_run_that_resumes_draws_what_it_would_have_drawn(tmp_path):
    """``fit_loop._data_fetcher``, ``restarted_mid_epoch``, ``val_loop.increment_progress_to_evaluation_end``.

    ``tests/modules/test_random_states.py`` has every place where a checkpoint may be written.
    """
    trainer = kit.trainer(max_epochs=1)
    trainer.fit(OneWeight(), torch.utils.data.DataLoader(torch.arange(3.0)))
    loops = trainer.fit_loop
    assert hasattr(loops, "_data_fetcher")
    assert not loops.restarted_mid_epoch
    assert not loops.epoch_loop.restarted_on_last
    for _ in range(2):
        internals.draw_as_without_interruption(trainer)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    internals._isolated(lambda: torch.rand(5))
    assert torch.equal(torch.rand(2), expected)


def test_sizes_of_the_mesh_are_kept_by_the_strategy():
    """``ModelParallelStrategy._tensor_parallel_size`` and ``._data_parallel_size``."""
    strategy = ModelParallelStrategy(data_parallel_size=1, tensor_parallel_size=2)
    assert internals.tensor_parallel_size(strategy) == 2
    assert internals.tensor_parallel_size(ModelParallelStrategy()) == "auto"
    internals.set_data_parallel_size(strategy, 4)
    assert strategy._data_parallel_size == 4


def test_buffers_keep_their_type_while_parameters_change_theirs():
    """``nn.Module._buffers``: the dictionary that ``module.to`` writes."""
    module = nn.BatchNorm1d(2)
    with internals.buffers_keep_their_type(module):
        module.to(torch.bfloat16)
    assert module.weight.dtype == torch.bfloat16
    assert module.running_mean.dtype == torch.float32


class OneWeight(pl.LightningModule):
    """Trains one weight, and writes down the batches that it is shown."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.shown = []

    def training_step(self, batch, batch_idx):
        self.shown.append(batch.item())
        return self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before", "ignore:.*treespec, LeafSpec")
@pytest.mark.parametrize(("first", "total"), [({"max_epochs": 1}, 6), ({"max_steps": 2}, 6), ({"max_steps": 4}, 6)])
def test_a_finished_run_is_continued_where_it_ended(tmp_path, first, total):
    """``fit_loop.epoch_loop.batch_progress`` and ``fit_loop.epoch_progress`` in checkpoints: their keys and counts."""

    class Corrected(OneWeight):
        def on_save_checkpoint(self, checkpoint):
            correct_loop_progress(checkpoint["loops"])

    batches = torch.utils.data.DataLoader(torch.arange(3.0))
    module, trainer = Corrected(), kit.trainer(**{"max_epochs": -1, **first})
    trainer.fit(module, batches)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    again = Corrected()
    kit.trainer(max_steps=total, max_epochs=-1).fit(again, batches, ckpt_path=tmp_path / "end.ckpt")
    assert len(module.shown) + len(again.shown) == total


def test_lightning_counts_batches_as_the_data_module_needs_it():
    """``trainer.fit_loop.epoch_loop.batch_progress.total.completed``: batches through all epochs."""
    module, trainer = OneWeight(), kit.trainer(max_epochs=2)
    trainer.fit(module, torch.utils.data.DataLoader(torch.arange(3.0)))
    assert trainer.fit_loop.epoch_loop.batch_progress.total.completed == 6


def test_a_strategy_checks_the_paths_that_it_loads(tmp_path):
    """``Strategy.load_checkpoint`` is the one way to a checkpoint, and is given the path."""
    seen = []
    torch.save({"state_dict": {}}, tmp_path / "a.ckpt")
    strategy = kit.trainer().strategy
    for check in (lambda path: seen.append("of an earlier module"), seen.append):
        internals.load_checked(strategy, check)
    assert strategy.load_checkpoint(tmp_path / "a.ckpt", weights_only=True) == {"state_dict": {}}
    assert seen == [tmp_path / "a.ckpt"]


def test_files_are_written_by_what_is_put_in_the_place_of_lightnings_own():
    """``Strategy.checkpoint_io``, and ``_WrappingCheckpointIO._checkpoint_io``, whose setter fills an empty place."""

    class Own(TorchCheckpointIO):
        pass

    inner, outer = AsyncCheckpointIO(), None
    for io in (None, TorchCheckpointIO(), AsyncCheckpointIO(), AsyncCheckpointIO(TorchCheckpointIO()), inner):
        outer = AsyncCheckpointIO(inner) if io is inner else io
        strategy = kit.trainer(plugins=[] if outer is None else [outer]).strategy
        internals.replace_checkpoint_io(strategy, Own)
        assert type(internals.basic_checkpoint_io(strategy)) is Own
        if isinstance(outer, AsyncCheckpointIO):
            assert strategy.checkpoint_io is outer
    given = Own()
    strategy = kit.trainer(plugins=[given]).strategy
    internals.replace_checkpoint_io(strategy, TorchCheckpointIO)
    assert internals.basic_checkpoint_io(strategy) is given


def test_nothing_is_removed_before_what_is_saved_in_the_background_is_written():
    """``AsyncCheckpointIO._executor``: one thread, None before the first save."""
    done, may_write = [], threading.Event()

    class Slow(TorchCheckpointIO):
        def save_checkpoint(self, *_, **__):
            may_write.wait(10)
            done.append("saved")

        def remove_checkpoint(self, path):
            done.append(f"removed {path}")

    io = AsyncCheckpointIO(Slow())
    strategy = kit.trainer(plugins=[io]).strategy
    for _ in range(2):
        internals.remove_after_saving(strategy)
    strategy.remove_checkpoint("a")
    strategy.save_checkpoint({}, "c")
    strategy.remove_checkpoint("b")
    assert done == ["removed a"]
    may_write.set()
    io.teardown()
    assert done == ["removed a", "saved", "removed b"]


def test_folders_are_written_unless_one_file_is_asked_for():
    """``ModelParallelStrategy._save_distributed_checkpoint``."""
    assert internals.writes_folders(ModelParallelStrategy())
    assert not internals.writes_folders(ModelParallelStrategy(save_distributed_checkpoint=False))


def test_model_checkpoint_is_replaced_in_what_it_does_with_links_and_time(tmp_path):
    """``ModelCheckpoint``: ``_link_checkpoint``, ``_find_last_checkpoints``, ``on_train_batch_end`` of an instance."""
    links, asked = [], []

    def last(found, folder, extension):
        asked.append((set(found), folder, extension))
        return found

    saving = ModelCheckpoint(tmp_path, "{step}", save_last="link", train_time_interval=timedelta(0))
    for _ in range(2):  # the second time changes nothing
        internals.replace_in_model_checkpoint(saving, lambda target, link: links.append((target, link)), last)
    module = OneWeight()
    module.automatic_optimization = False
    module.training_step = lambda batch, batch_idx: module.optimizers().step()
    trainer = kit.trainer(max_steps=2, callbacks=[saving], enable_checkpointing=True)
    trainer.fit(module, torch.utils.data.DataLoader(torch.arange(3.0)))
    saved = [str(tmp_path / f"step={step}.ckpt") for step in (1, 2)]
    assert links == [(path, str(tmp_path / "last.ckpt")) for path in saved]
    assert saving._find_last_checkpoints(trainer) == set()
    assert asked == [(set(), tmp_path, ".ckpt")]


def test_hyperparameters_have_former_names():
    """``CHECKPOINT_PAST_HPARAMS_KEYS``: Lightning builds from these, too."""
    checkpoint = {"hparams": {"a": 1, "b": 1}, "module_arguments": {"b": 2, "c": 2}, "hyper_parameters": {"c": 3}}
    assert internals.written_record(checkpoint) == {"a": 1, "b": 2, "c": 3}


def test_what_an_optimizer_is_configured_with_is_read_once():
    """``LightningModule.configure_optimizers``: looked up on the instance, where it may be a user's own function."""
    module, seen = OneWeight(), []

    def read(configured):
        seen.append(type(configured))
        return configured

    for _ in range(2):
        internals.read_optimizers(module, read)
    kit.trainer(max_steps=1).fit(module, torch.utils.data.DataLoader(torch.arange(3.0)))
    assert seen == [torch.optim.SGD]


def test_optimizers_are_parsed_as_under_automatic_optimization():
    """``_configure_optimizers`` and ``_configure_schedulers_automatic_opt``, which keep monitors and intervals."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    given = {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "x", "interval": "step"}}
    optimizers, (config,) = internals.parsed_optimizers(given)
    assert optimizers == [optimizer]
    assert (config.scheduler, config.monitor, config.interval) == (plateau, "x", "step")
    assert config.reduce_on_plateau
    assert config.strict
    with pytest.raises(ValueError, match="configure_optimizers: Unknown configuration"):
        internals.parsed_optimizers(3)


@pytest.mark.parametrize("shards", [False, True])
def test_what_is_beside_the_weights_is_read_before_them(tmp_path, shards):
    """``_METADATA_FILENAME``: the file for the rest in a folder of shards."""
    path = tmp_path / "meta.pt" if shards else tmp_path / "a.ckpt"
    torch.save({"epoch": 3}, path)
    assert internals.peeked(tmp_path if shards else path) == {"epoch": 3}
    assert internals.peeked(tmp_path / "missing") == {}
    torch.save({"epoch": OneWeight}, path)  # whose import would run code
    assert internals.peeked(tmp_path if shards else path) == {}
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=f"{path.name}' cannot be used: its end is missing"):
        internals.peeked(tmp_path if shards else path)


def test_a_signal_is_noticed_without_a_collective_and_ends_training_between_two_steps(monkeypatch):
    trainer = kit.trainer(max_steps=1)
    internals.end_on_all_ranks_together(trainer)
    trainer.state.fn = TrainerFn.FITTING
    monkeypatch.setattr(pl.Trainer, "world_size", 2)
    trainer._signal_connector._sigterm_notifier_fn(signal.SIGTERM, None)  # fails with a process group that is not there
    assert not trainer.received_sigterm
    asked = []
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor, op: asked.append(tensor.item()))
    with pytest.raises(SystemExit, match="143"):
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor()  # the hook before every step
    assert asked == [1]
    assert trainer.received_sigterm
