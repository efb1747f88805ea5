"""Backward passes are counted as they are taken, logged, and counted on by a run that resumes."""

import functools

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from tests import kit
from unlearn_pl.callbacks import BackwardPasses
from unlearn_pl.combiners import MinNorm, Scalarization
from unlearn_pl.gradients import ZerothOrder
from unlearn_pl.modules import GradDiff
from unlearn_pl.optim import Constant
from unlearn_pl.report import read_history

SGD = {"optimizer": functools.partial(torch.optim.SGD, lr=0.01), "schedule": Constant()}


def fitted(folder, combiner, steps: int, micro_batch_size: int = 4, resumed: bool = False, **options):
    counter = BackwardPasses()
    trainer = kit.trainer(
        max_steps=steps,
        log_every_n_steps=1,
        logger=CSVLogger(folder, name="", version="resumed" if resumed else "first"),
        callbacks=[counter],
        default_root_dir=folder,
    )
    data = kit.Questions(batch_size=8, micro_batch_size=micro_batch_size)
    last = folder / "last.ckpt"
    trainer.fit(GradDiff(kit.model(), combiner=combiner, **SGD, **options), data, ckpt_path=last if resumed else None)
    trainer.save_checkpoint(last)
    return counter


# forget and retain are read apart, so that a sum has a pass for each of them, too
@pytest.mark.parametrize(
    ("combiner", "micro_batch_size", "passes"), [(Scalarization(), 8, 2), (MinNorm(), 8, 2), (MinNorm(), 4, 4)]
)
def test_passes_of_a_step(combiner, micro_batch_size, passes, tmp_path):
    assert fitted(tmp_path, combiner, 3, micro_batch_size).count == 3 * passes
    logged = read_history(tmp_path / "first" / "metrics.csv")["train/backward_passes"]
    assert logged == [(step, float(step * passes)) for step in (1, 2, 3)]


def test_forward_passes_alone_have_none(tmp_path):
    assert fitted(tmp_path, MinNorm(), 2, gradient=ZerothOrder()).count == 0


def test_a_resumed_run_counts_on(tmp_path):
    fitted(tmp_path, MinNorm(), 2)
    assert fitted(tmp_path, MinNorm(), 3, resumed=True).count == 12
