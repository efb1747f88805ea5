"""Steps that overshoot, for all that first order promises, are halved until no retain loss rises."""

import functools
import math

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from tests.callbacks.steps.test_step_projection import fit, module
from unlearn_pl.callbacks import StepProjection
from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.objectives import CausalLMLoss

LARGE = functools.partial(torch.optim.SGD, lr=5.0)


class RetainLoss(pl.Callback):
    """The change of the retain loss of a step's rows over it, in evaluation mode; and what was logged of it."""

    def __init__(self):
        self.rises, self.logged = [], []

    def on_train_batch_start(self, trainer, pl_module, batch, _):
        self.batch = batch
        self.start = self.loss(pl_module)

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.rises.append(self.loss(pl_module) - self.start)

    @torch.no_grad()
    def loss(self, pl_module):
        with evaluation_mode(pl_module.model):
            views = [pl_module.view("retain", batch) for batch in self.batch["retain"]]
            counts = torch.stack([view.count("tokens") for view in views])
            each = torch.stack([CausalLMLoss().loss(view) for view in views])
        return float((each * counts).sum() / counts.sum())


class Logger(CSVLogger):
    """Keeps what is logged, by step."""

    def __init__(self, path):
        super().__init__(path)
        self.kept = {}

    def log_metrics(self, metrics, step=None):
        self.kept.setdefault(step, {}).update(metrics)


def steps(path, **options):
    """The run, the rises of the retain loss, and what was logged of each step."""
    trained, seen, logger = module(optimizer=LARGE), RetainLoss(), Logger(path)
    fit(trained, StepProjection(0, **options), seen, steps=3, logger=logger, log_every_n_steps=1)
    return trained, seen.rises, list(logger.kept.values())


def test_a_step_that_overshoots_is_halved_until_no_retain_loss_rises(tmp_path):
    plain, rises, logged = steps(tmp_path)
    assert min(rises) > 0.5  # first order promises 0
    assert "train/projection/share" not in logged[0]
    halved, kept, logged = steps(tmp_path, backtracks=20, tolerance=1e-3)
    assert max(kept) <= 1e-3 + 1e-9
    assert logged[0]["train/projection/share"] < 1
    for rise, metrics in zip(kept, logged, strict=True):
        assert metrics["train/projection/rise"] == pytest.approx(rise, abs=1e-9)
        assert math.log2(metrics["train/projection/share"]).is_integer()
    first = [run.before[1] - run.before[0] for run in (plain, halved)]
    torch.testing.assert_close(first[1], logged[0]["train/projection/share"] * first[0], rtol=1e-6, atol=1e-12)


def test_no_more_halvings_than_asked_for_and_none_where_nothing_rises(tmp_path):
    _, rises, logged = steps(tmp_path, backtracks=1, tolerance=0.0)
    assert {metrics["train/projection/share"] for metrics in logged} == {0.5, 1.0}
    assert max(rises) > 0.5
    plain, measured = steps(tmp_path)[0], steps(tmp_path, backtracks=3, tolerance=1e6)
    assert torch.equal(plain.flat(), measured[0].flat())
    assert {metrics["train/projection/share"] for metrics in measured[2]} == {1.0}


def test_micro_batches_and_other_memory_change_nothing():
    runs = {}
    for size in (8, 2):
        runs[size] = module(optimizer=LARGE)
        fit(runs[size], StepProjection(2, backtracks=5), steps=3, micro_batch_size=size)
    torch.testing.assert_close(runs[2].flat(), runs[8].flat(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backtracks": -1}, "backtracks is -1; accepted: 0"),
        ({"tolerance": -1.0}, "tolerance is -1.0; accepted: 0"),
        ({"tolerance": math.nan}, "tolerance is nan; accepted"),
    ],
)
def test_arguments_that_are_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        StepProjection(**arguments)
