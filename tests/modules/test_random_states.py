"""Dropout, and whatever else draws random numbers, goes on in a run that resumes as if it had not been interrupted."""

import functools
import random

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from tests import kit
from tests.modules.test_checkpoint import Crash
from unlearn_pl.modules import GradDiff
from unlearn_pl.modules.fitting.random_states import KEY, current_states, set_states
from unlearn_pl.optim import Constant

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before"),
]
ADAMW = functools.partial(torch.optim.AdamW, lr=3e-3)


class Dropped(GradDiff):
    """Draws from every generator in every step, beside the model's dropout, and in validation."""

    def __init__(self, **options) -> None:
        super().__init__(kit.model(dropout=0.2), optimizer=ADAMW, schedule=Constant(), **options)
        self.drawn: list[tuple[float, ...]] = []

    def training_step(self, batch, batch_idx) -> None:
        self.drawn.append((random.random(), random.gauss(), np.random.normal(), torch.rand(()).item()))
        super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        return (torch.rand(3), random.random(), np.random.random())


class Saving(pl.Callback):
    """Writes ``<hook><steps>.ckpt``, wherever a checkpoint may be written."""

    def __init__(self, folder) -> None:
        self.folder = folder

    def save(self, trainer, name: str) -> None:
        trainer.save_checkpoint(self.folder / f"{name}{trainer.global_step}.ckpt")

    def on_train_batch_end(self, trainer, *_) -> None:
        self.save(trainer, "batch")

    def on_validation_end(self, trainer, *_) -> None:
        if not trainer.sanity_checking:
            self.save(trainer, "validation")

    def on_train_epoch_end(self, trainer, *_) -> None:
        self.save(trainer, "epoch")


def fit(data, *callbacks, seed: int, ckpt_path=None, **options):
    pl.seed_everything(seed, verbose=False)
    module = Dropped(**options)
    limits = {"max_epochs": 3, "limit_val_batches": 1, "val_check_interval": 2, "num_sanity_val_steps": 1}
    kit.trainer(callbacks=list(callbacks), **limits).fit(module, data(), ckpt_path=ckpt_path)
    return module


def streams():
    return kit.Questions(batch_size=4, micro_batch_size=2)


def assert_same_end(resumed, whole) -> None:
    assert resumed.drawn == whole.drawn[-len(resumed.drawn) :]
    for mine, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run of three epochs of four steps, and its folder of checkpoints."""
    folder = tmp_path_factory.mktemp("whole")
    return fit(streams, Saving(folder), seed=1), folder


@pytest.mark.parametrize("name", ["batch3", "batch4", "batch6", "validation2", "validation4", "epoch4", "epoch8"])
def test_a_run_with_dropout_resumes_to_the_last_bit(whole, name):
    assert_same_end(fit(streams, seed=2, ckpt_path=whole[1] / f"{name}.ckpt"), whole[0])


def test_a_validation_does_not_change_the_random_numbers_of_training(whole):
    pl.seed_everything(1, verbose=False)
    module = Dropped()
    kit.trainer(max_epochs=3).fit(module, streams())
    assert_same_end(module, whole[0])
    assert len(module.drawn) == 12


def test_a_run_that_crashed_resumes(whole, tmp_path):
    with pytest.raises(SystemError, match="the machine fails"):
        fit(streams, Saving(tmp_path), Crash(7), seed=1)
    assert_same_end(fit(streams, seed=5, ckpt_path=tmp_path / "batch7.ckpt"), whole[0])


def plain():
    """Loaders of Lightning's own kind, whose order is drawn from the global generator."""

    class Loaders(pl.LightningDataModule):
        def train_dataloader(self):
            rows = [{"input_ids": torch.arange(1, 6) + i, "labels": torch.arange(1, 6) + i} for i in range(8)]
            for number, row in enumerate(rows):
                row |= {"attention_mask": torch.ones(5, dtype=torch.long), "index": torch.tensor(number)}
            loader = functools.partial(torch.utils.data.DataLoader, rows, batch_size=4, shuffle=True)
            return {"forget": loader(), "retain": loader()}

    return Loaders()


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no")
@pytest.mark.parametrize("name", ["epoch2", "batch4"])
def test_the_shuffled_order_of_plain_loaders_goes_on_at_the_end_of_an_epoch(tmp_path, name):
    whole = fit(plain, Saving(tmp_path), seed=1, micro_batch_size=2)
    assert_same_end(fit(plain, seed=2, ckpt_path=tmp_path / f"{name}.ckpt", micro_batch_size=2), whole)


def test_a_checkpoint_without_states_resumes_and_says_so(whole, tmp_path, caplog):
    checkpoint = torch.load(whole[1] / "epoch8.ckpt", weights_only=True)
    states = checkpoint.pop(KEY)
    torch.save(checkpoint, tmp_path / "old.ckpt")
    with caplog.at_level("INFO"):
        fit(streams, seed=2, ckpt_path=tmp_path / "old.ckpt")
    assert "no states of random generators" in caplog.text
    caplog.clear()
    checkpoint[KEY] = {name: state.repeat(2, 1) for name, state in states.items()}
    torch.save(checkpoint, tmp_path / "two.ckpt")
    with caplog.at_level("INFO"):
        fit(streams, seed=2, ckpt_path=tmp_path / "two.ckpt")
    assert "random generators of 2 ranks, and this run has 1" in caplog.text


def test_states_of_all_generators_come_back():
    def draw():
        return random.random(), random.gauss(), np.random.normal(), torch.rand(2).tolist()

    draw()  # one of a pair of normal numbers is kept for later
    states = current_states(torch.device("cpu"))
    first = draw(), draw()
    set_states(states)
    assert (draw(), draw()) == first
