"""The change of the weights is projected on the retain gradients: against least squares, and in training."""

import functools

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from scipy.optimize import nnls

from tests import kit
from unlearn_pl.callbacks import ConflictMonitor, StepProjection
from unlearn_pl.callbacks.steps.remembered_rows import RememberedRows
from unlearn_pl.callbacks.steps.step_projection import _multipliers
from unlearn_pl.combiners import GramianCombiner, MinNorm, Scalarization
from unlearn_pl.gradients import SketchedRows
from unlearn_pl.masks import TrainableParameters
from unlearn_pl.modules import MOLLM, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, GradientAscentLoss, UnlearningCrossEntropyLoss
from unlearn_pl.optim import Constant

ADAM = functools.partial(torch.optim.Adam, lr=1e-3, betas=(0.9, 0.99))
SGD = functools.partial(torch.optim.SGD, lr=0.05)
OPTIONS = {"schedule": Constant(), "gradient_clip_val": None}


class ForgetAlone(GramianCombiner):
    """Descends the forget objective, whatever that does to the other: a conflict at every step."""

    def weigh(self, gramian, losses):
        return torch.tensor([1.0, 0.0], dtype=torch.float64)


class Followed(kit.Recording, UnlearningModule):
    """Keeps the weights before every step and after the last one, and Adam's denominators after each."""

    def on_rows(self, rows, weights) -> None:
        super().on_rows(rows, weights)
        self.before = [*getattr(self, "before", []), self.flat()]

    def flat(self) -> torch.Tensor:
        return torch.cat([p.detach().double().flatten() for p in self.trained_parameters])

    def row(self, step: int, name: str = "retain") -> torch.Tensor:
        row = zip(self.history[step]["rows"][name], self.trained_parameters, strict=True)
        return torch.cat([(torch.zeros_like(p) if g is None else g).double().flatten() for g, p in row])


class Divisors(pl.Callback):
    """Keeps what Adam has divided by, after every step."""

    def __init__(self) -> None:
        self.kept = []

    def on_train_batch_end(self, trainer, pl_module, *_):
        state, (group,) = trainer.optimizers[0].state, trainer.optimizers[0].param_groups
        roots = [
            (state[p]["exp_avg_sq"] / (1 - group["betas"][1] ** float(state[p]["step"]))).sqrt() + group["eps"]
            for p in pl_module.trained_parameters
        ]
        self.kept.append(torch.cat([root.double().flatten() for root in roots]))


def module(optimizer=ADAM, combiner=None, **options):
    objectives = {"forget": GradientAscentLoss(), "retain": CausalLMLoss()}
    options = OPTIONS | options
    return Followed(
        kit.model(dtype=torch.float64), objectives, combiner or ForgetAlone(), optimizer=optimizer, **options
    )


def fit(trained, *callbacks, steps=4, micro_batch_size=4, ckpt_path=None, **options):
    options = {"max_steps": steps, "max_epochs": -1, "precision": "64-true", "callbacks": list(callbacks)} | options
    trainer = kit.trainer(**options)
    trainer.fit(trained, kit.Questions(batch_size=8, micro_batch_size=micro_batch_size), ckpt_path=ckpt_path)
    return trainer


def projected(change, rows):
    """The closest vector to ``change`` with no positive product with a row: what is left of it by Moreau's theorem."""
    return change - torch.stack(rows).T @ torch.from_numpy(nnls(torch.stack(rows).T.numpy(), change.numpy())[0])


@pytest.mark.parametrize("metric", ["euclidean", "adam"])
def test_equals_non_negative_least_squares_on_this_gradient_and_those_before(metric):
    """With one callback that projects, and another run of it that stops before the last step and takes that plainly."""
    steps, memory = 4, 2
    whole, divisors = module(), Divisors()
    fit(whole, StepProjection(memory, metric=metric), divisors, steps=steps)
    after = [*whole.before[1:], whole.flat()]

    class Until(StepProjection):
        """Leaves the last step as it is."""

        def _project(self, parameters, optimizer, pl_module):
            if self._steps < steps - 1:
                super()._project(parameters, optimizer, pl_module)

    raw = module()
    fit(raw, Until(memory, metric=metric), steps=steps)
    assert torch.equal(raw.before[-1], whole.before[-1])
    change = raw.flat() - raw.before[-1]
    rows = [whole.row(step) for step in range(steps - memory - 1, steps)]
    assert max(float(row @ change) for row in rows) > 0
    root = divisors.kept[-1].sqrt() if metric == "adam" else torch.ones_like(change)
    moved = rows[0] != 0
    for row in rows:
        moved = moved | (row != 0)
    expected = projected(change * root, [row / root for row in rows]) / root
    got = after[-1] - whole.before[-1]
    torch.testing.assert_close(got[moved], expected[moved], rtol=1e-6, atol=1e-9)
    for row in rows:
        assert float(row @ got) <= 1e-9 * row.norm() * change.norm()


def test_the_retain_loss_rises_without_and_not_with_the_projection():
    """A planted conflict: the forget step climbs the retain loss, under Adam at once, with its momentum even later."""
    losses = {}
    for name, callbacks in {"raw": [], "projected": [StepProjection(0)]}.items():
        trained = module(optimizer=functools.partial(torch.optim.Adam, lr=1e-4))

        class Losses(pl.Callback):
            """Of the same rows before and after each step."""

            def __init__(self):
                self.kept = []

            def on_train_batch_start(self, trainer, pl_module, batch, _):
                self.batch = batch
                self.start = self.loss(pl_module)

            def on_train_batch_end(self, trainer, pl_module, *_):
                self.kept.append(self.loss(pl_module) - self.start)

            @torch.no_grad()
            def loss(self, pl_module):
                views = [pl_module.view("retain", batch) for batch in self.batch["retain"]]
                counts = torch.stack([view.count("tokens") for view in views])
                each = torch.stack([CausalLMLoss().loss(view) for view in views])
                return float((each * counts).sum() / counts.sum())

        seen = Losses()
        fit(trained, *callbacks, seen, steps=3)
        losses[name] = seen.kept
    assert min(losses["raw"]) > 1e-4
    assert max(losses["projected"]) < 0.01 * min(losses["raw"])


def test_a_step_that_climbs_nothing_is_left_as_it_is():
    plain, guarded = (module(optimizer=SGD, combiner=MinNorm()) for _ in range(2))
    fit(plain, steps=2)
    fit(guarded, StepProjection(0), steps=2)
    assert torch.equal(plain.flat(), guarded.flat())


def test_it_comes_before_other_callbacks_and_logs_what_it_has_removed(tmp_path):
    logged = {}

    class Logger(CSVLogger):
        def log_metrics(self, metrics, step=None):
            logged.setdefault(step, {}).update(metrics)

    fit(module(), ConflictMonitor(1), StepProjection(1), logger=Logger(tmp_path), log_every_n_steps=1)
    assert list(logged) == [1, 2, 3, 4]
    for metrics in logged.values():
        assert metrics["train/descent/retain"] > -1e-9
        assert metrics["train/descent/forget"] > 0
        assert 0 < metrics["train/projection/removed"] < 1
        assert metrics["train/projection/conflicts"] in (1.0, 2.0)


def test_micro_batches_change_nothing():
    whole, parts = module(), module()
    fit(whole, StepProjection(2), steps=3, micro_batch_size=8)
    fit(parts, StepProjection(2), steps=3, micro_batch_size=2)
    torch.testing.assert_close(parts.flat(), whole.flat(), rtol=1e-7, atol=1e-9)


def test_only_one_step_in_so_many_is_remembered():
    trained, guard = module(), StepProjection(3, remember_every=2)
    fit(trained, guard, steps=5)
    kept = [torch.cat([g.flatten() for g in row if g is not None]) for row in guard._past.rows]
    for row, step in zip(kept, (0, 2, 4), strict=True):
        torch.testing.assert_close(row, torch.cat([g.flatten() for g in trained.history[step]["rows"]["retain"]]))


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path):
    class Save(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            if trainer.global_step == 3:
                trainer.save_checkpoint(tmp_path / "stopped.ckpt")

    whole, second = module(), module()
    fit(whole, StepProjection(2, remember_every=2), Save())
    fit(second, StepProjection(2, remember_every=2), ckpt_path=tmp_path / "stopped.ckpt")
    assert torch.equal(second.flat(), whole.flat())


def test_rows_of_other_weights_are_not_taken_for_these():
    remembered = RememberedRows(2)
    remembered.load([[torch.ones(3), None]])
    with pytest.raises(ValueError, match="gradients of other weights than those that are trained now"):
        remembered.place([torch.nn.Parameter(torch.ones(3))])
    with pytest.raises(ValueError, match="gradients of other weights"):
        remembered.place([torch.nn.Parameter(torch.ones(n)) for n in (2, 3)])


def test_skipped_steps_and_frozen_parts():
    class EveryOther(ForgetAlone):
        calls = 0

        def weigh(self, gramian, losses):
            self.calls += 1
            return super().weigh(gramian, losses) * (self.calls % 2)

    trained, guard = module(combiner=EveryOther(), mask=TrainableParameters([r"layers\.1\."])), StepProjection(6)
    fit(trained, guard, steps=-1, max_epochs=3)
    assert len(guard._past.rows) == 3  # of steps 1, 3 and 5
    assert float(trained.row(4) @ (trained.flat() - trained.before[4])) <= 1e-12


def test_gradients_that_are_0_or_not_finite_do_not_count():
    change, row, zero = torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0]), torch.zeros(2)
    rows = torch.stack([change, row, zero, torch.full((2,), torch.inf)]).double()
    products = rows @ rows.T
    assert _multipliers(products).tolist() == [1.0, 0.0, 0.0]
    assert _multipliers(torch.zeros(3, 3).double()).tolist() == [0.0, 0.0]
    assert _multipliers(torch.ones(1, 1).double()).tolist() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"memory": 7}, "memory is 7; accepted: 0 to 6"),
        ({"memory": -1}, "memory is -1; accepted"),
        ({"remember_every": 0}, "remember_every is 0; accepted"),
        ({"metric": "fisher"}, "metric is 'fisher'; accepted: euclidean, adam"),
    ],
)
def test_arguments_that_are_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        StepProjection(**arguments)


def test_modules_that_have_nothing_to_project_on():
    def message(guard, **parts):
        parts = {"objectives": {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()}} | parts
        with pytest.raises(ValueError, match=r"StepProjection|Adam") as raised:
            fit(UnlearningModule(kit.model(), optimizer=SGD, **OPTIONS, **parts), guard, steps=1, precision=32)
        return str(raised.value)

    assert "combiner=Scalarization with gradient=FirstOrder does not" in message(
        StepProjection(), combiner=Scalarization()
    )
    assert "gradient=SketchedRows does not" in message(StepProjection(), combiner=MinNorm(), gradient=SketchedRows(64))
    assert "role 'retain', and there is none" in message(
        StepProjection(), combiner=MinNorm(), objectives={"forget": UnlearningCrossEntropyLoss()}
    )
    assert "does not keep" in message(StepProjection(metric="adam"), combiner=MinNorm())
    with pytest.raises(ValueError, match=r"memory=6 and the 2 retain objectives \['normal', 'retain'\] are more than"):
        fit(MOLLM(kit.model(), optimizer=SGD), StepProjection(6), steps=1, precision=32)
