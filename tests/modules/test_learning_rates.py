"""Schedulers do under manual optimization what Lightning documents, and does itself under automatic optimization."""

import functools

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.cli import ReduceLROnPlateau as WatchingPlateau
from lightning.pytorch.utilities import CombinedLoader
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LinearLR, OneCycleLR, ReduceLROnPlateau, StepLR

from tests import kit
from unlearn_pl.combiners import MinNorm, Scalarization
from unlearn_pl.masks import Mask
from unlearn_pl.models import tiny_llama
from unlearn_pl.modules import GradDiff, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss
from unlearn_pl.optim import Constant, Cosine

pytestmark = [
    pytest.mark.filterwarnings("ignore:A `OneCycleLR` scheduler is using"),
    pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step"),
]


def plateau(optimizer):
    return ReduceLROnPlateau(optimizer, factor=0.5, patience=0)


def decay(optimizer):
    return ExponentialLR(optimizer, 0.5)


CONFIGURED = {
    "optimizer": lambda o: o,
    "scheduler": lambda o: {"optimizer": o, "lr_scheduler": decay(o)},
    "lists": lambda o: ([o], [decay(o)]),
    "epochs": lambda o: {"optimizer": o, "lr_scheduler": {"scheduler": decay(o), "interval": "epoch", "frequency": 2}},
    "step": lambda o: {"optimizer": o, "lr_scheduler": {"scheduler": decay(o), "interval": "step"}},
    "steps": lambda o: {"optimizer": o, "lr_scheduler": {"scheduler": decay(o), "interval": "step", "frequency": 2}},
    "several": lambda o: (
        [o],
        [
            {"scheduler": StepLR(o, 1, 0.9), "interval": "step"},
            {"scheduler": LinearLR(o, 0.5, total_iters=3), "interval": "epoch"},
        ],
    ),
    "list of one dictionary": lambda o: [{"optimizer": o, "lr_scheduler": decay(o)}],
    "plateau": lambda o: {"optimizer": o, "lr_scheduler": plateau(o), "monitor": "val/loss"},
    "plateau in a dictionary": lambda o: {
        "optimizer": o,
        "lr_scheduler": {"scheduler": plateau(o), "monitor": "val/loss", "frequency": 1},
    },
    "plateau per validation": lambda o: {
        "optimizer": o,
        "lr_scheduler": {"scheduler": plateau(o), "monitor": "val/loss", "interval": "step", "frequency": 2},
    },
    "plateau of training": lambda o: {
        "optimizer": o,
        "lr_scheduler": {"scheduler": plateau(o), "monitor": "train/own"},
    },
}


class Rates(pl.Callback):
    """Keeps the learning rate of every optimizer step, and logs what plateaus watch."""

    def __init__(self) -> None:
        self.used: list[float] = []
        self.validations = 0

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        self.used.append(optimizer.param_groups[0]["lr"])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        pl_module.log("train/own", 1.0 + trainer.current_epoch % 2, on_epoch=True, on_step=False, batch_size=1)

    def on_validation_epoch_end(self, trainer, pl_module) -> None:
        pl_module.log("val/loss", [1.0, 2.0, 0.5, 3.0, 3.0, 3.0][self.validations], batch_size=1)
        self.validations += 1


class Automatic(pl.LightningModule):
    """Steps its schedulers by Lightning."""

    def __init__(self, configured) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.configured = configured

    def training_step(self, batch, batch_idx):
        return self.weight.sum()

    def validation_step(self, batch, batch_idx):
        return None

    def configure_optimizers(self):
        return self.configured(AdamW(self.parameters(), lr=0.01))


class Configured(GradDiff):
    """Configures its optimizer itself."""

    def __init__(self, configured, **options) -> None:
        super().__init__(tiny(), **options)
        self.configured = configured

    def configure_optimizers(self):
        return self.configured(AdamW(self.model.parameters(), lr=0.01))


def fit(module, data=None, **options) -> list[float]:
    rates = Rates()
    defaults = {"max_epochs": 3, "limit_val_batches": 1, "val_check_interval": 2, "callbacks": [rates]}
    if data is None:
        loader = torch.utils.data.DataLoader(torch.zeros(4))
        kit.trainer(**defaults | options).fit(module, loader, loader)
    else:
        kit.trainer(**defaults | options).fit(module, data)
    return rates.used


def tiny():
    return tiny_llama(len(kit.tokenizer()), hidden_size=8, num_layers=1, num_heads=1)


@functools.cache
def questions():
    return kit.Questions(retain=8, batch_size=4, micro_batch_size=4, splits=["forget"], max_eval_examples=1)


@pytest.mark.parametrize("name", CONFIGURED)
def test_schedulers_are_stepped_when_lightning_steps_them(name):
    configured = CONFIGURED[name]
    expected = fit(Automatic(configured))
    assert len(expected) == 12
    assert name.startswith("optimizer") or len(set(expected)) > 1
    assert fit(Configured(configured), questions()) == expected


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no")
def test_plain_loaders_have_epochs_too():
    def batches():
        data = kit.Questions(batch_size=4, micro_batch_size=4)
        data.setup("fit")
        windows = [window for window, _, _ in data.train_dataloader()]
        parts = {stream: [window[stream][0] for window in windows] for stream in windows[0]}
        return CombinedLoader(
            {s: torch.utils.data.DataLoader(p, batch_size=None) for s, p in parts.items()}, "min_size"
        )

    rates = Rates()
    configured = CONFIGURED["scheduler"]
    kit.trainer(max_epochs=2, limit_val_batches=None, callbacks=[rates]).fit(Configured(configured), batches())
    assert rates.used == [0.01] * 4 + [0.005] * 4


def test_a_schedule_of_this_library_counts_steps_wherever_it_is_built():
    steps = fit(GradDiff(tiny(), optimizer=functools.partial(AdamW, lr=0.01), schedule=Cosine()), questions())
    assert len(set(steps)) == 12
    for wrap in (
        lambda o, s: {"optimizer": o, "lr_scheduler": s},
        lambda o, s: {"optimizer": o, "lr_scheduler": {"scheduler": s}},
        lambda o, s: ([o], [s]),
    ):
        module = Configured(lambda o, wrap=wrap: wrap(o, Cosine().build(o, 4, 12)))
        assert fit(module, questions()) == steps


@pytest.mark.filterwarnings("ignore:8 of 8 optimizer steps were skipped")
def test_a_skipped_step_is_no_step_of_a_schedule_but_ends_an_epoch():
    class Broken(CausalLMLoss):
        def loss(self, view):
            return super().loss(view) * float("nan")

    class Skipping(UnlearningModule):
        def configure_optimizers(self):
            optimizer = AdamW(self.model.parameters(), lr=0.01)
            return [optimizer], [{"scheduler": decay(optimizer), "interval": each} for each in ("step", "epoch")]

    module = Skipping(tiny(), {"forget": Broken("forget")}, Scalarization())
    fit(module, questions(), max_epochs=2)
    assert module.skipped["nonfinite"] == 8
    assert [scheduler.last_epoch for scheduler in module.lr_schedulers()] == [0, 2]


def test_the_hook_that_steps_a_scheduler_is_called():
    class Stepping(Configured):
        def lr_scheduler_step(self, scheduler, metric):
            self.metrics = [*getattr(self, "metrics", []), metric]
            super().lr_scheduler_step(scheduler, metric)

    module = Stepping(CONFIGURED["plateau"])
    fit(module, questions())
    assert module.metrics == [2.0, 3.0, 3.0]


def test_a_hook_without_super_delays_a_plateau_to_the_next_step():
    class Own(Configured):
        def on_train_epoch_end(self):
            pass

    assert fit(Own(CONFIGURED["plateau"]), questions()) == fit(Automatic(CONFIGURED["plateau"]))


@pytest.mark.parametrize(
    ("configured", "message"),
    [
        (lambda o: None, "configure_optimizers has returned None. Accepted: one optimizer"),
        (lambda o: [o, SGD(o.param_groups[0]["params"][:1], lr=1)], "returned 2 optimizers, but all objectives"),
        (lambda o: {"optimizer": o, "lr_scheduler": plateau(o)}, "must include a monitor"),
        (lambda o: {"optimizer": o, "lr_scheduler": {"scheduler": decay(o), "interval": "batch"}}, '"interval"'),
        (
            lambda o: {"optimizer": o, "lr_scheduler": {"scheduler": decay(o), "frequency": 0}},
            "frequency of .* is 0",
        ),
        (lambda o: {"optimizer": o, "lr_scheduler": {"interval": "step"}}, 'must have the key "scheduler"'),
        (lambda o: "AdamW", "Unknown configuration for model optimizers"),
        (lambda o: SGD([torch.nn.Parameter(torch.zeros(2))], lr=1), r"1 of 1 weights .*\[\[2\]\], are not weights"),
        (lambda o: ([o], [decay(SGD([torch.nn.Parameter(torch.zeros(2))], lr=1))]), "of another optimizer"),
        (lambda o: ([o], [object()]), "scheduler object, which is no LRScheduler"),
    ],
)
def test_what_cannot_be_done_is_said_before_training(configured, message):
    module = Configured(configured)
    with pytest.raises(ValueError, match=message):
        fit(module, questions())
    assert module.windows_closed == 0


def test_options_hold_for_an_optimizer_of_ones_own():
    with pytest.raises(ValueError, match="metric='adam'"):
        fit(
            Configured(lambda o: SGD(o.param_groups[0]["params"], lr=1), combiner=MinNorm(), metric="adam"), questions()
        )


def test_masked_weights_do_not_decay_under_an_optimizer_of_ones_own():
    class Half(Mask):
        element_wise = True

        def elements(self, name, like):
            kept = torch.zeros_like(like, dtype=torch.bool)
            kept.view(-1)[::2] = True
            return kept

        def apply(self, names, row):
            for name, part in zip(names, row, strict=True):
                if part is not None:
                    part.mul_(self.elements(name, part))

        def fingerprint(self):
            return "half"

    module = Configured(lambda o: AdamW(o.param_groups[0]["params"], lr=0.01, weight_decay=0.5), mask=Half())
    fit(module, questions(), max_epochs=1)
    for now, before in zip(module.model.parameters(), tiny().parameters(), strict=True):
        assert torch.equal(now.view(-1)[1::2], before.view(-1)[1::2])


def test_a_metric_that_is_not_logged_is_named():
    def watching(strict):
        return lambda o: {
            "optimizer": o,
            "lr_scheduler": {"scheduler": plateau(o), "monitor": "val/los", "strict": strict},
        }

    with pytest.raises(ValueError, match=r"watches 'val/los', which has not been logged. Accepted .*'val/loss'"):
        fit(Configured(watching(True)), questions())
    with pytest.warns(UserWarning, match="watches 'val/los', which has not been logged; the learning rate stays"):
        assert set(fit(Configured(watching(False)), questions())) == {0.01}


# The argument `schedule` ---------------------------------------------------------------------------------------------


def test_schedulers_of_pytorch_are_schedules():
    def rates(schedule):
        return fit(GradDiff(tiny(), optimizer=functools.partial(AdamW, lr=0.01), schedule=schedule), questions())

    cycle = functools.partial(OneCycleLR, max_lr=0.1, total_steps=12)
    optimizer = AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    scheduler, expected = cycle(optimizer), []
    for _ in range(12):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates(cycle) == pytest.approx(expected)
    assert rates(lambda o: CosineAnnealingLR(o, T_max=12))[-1] < 0.001
    watching = functools.partial(WatchingPlateau, monitor="val/loss", factor=0.5, patience=0)
    assert rates(watching) == fit(Automatic(CONFIGURED["plateau"]))


def test_a_scheduler_of_pytorch_needs_no_end_of_the_run():
    module = GradDiff(tiny(), schedule=functools.partial(StepLR, step_size=1))
    kit.trainer(max_epochs=-1, callbacks=[pl.callbacks.Timer(duration={"seconds": 0.1})]).fit(module, questions())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": AdamW([torch.nn.Parameter(torch.zeros(1))])}, "optimizer is an instance of AdamW; accepted: "),
        ({"optimizer": "AdamW"}, "optimizer is 'AdamW'; accepted: a subclass of torch.optim.Optimizer"),
        ({"optimizer": {"lr": 0.1}}, "optimizer is {'lr': 0.1}; accepted"),
        ({"optimizer": StepLR}, "optimizer is <class .*StepLR'>; accepted"),
        (
            {"schedule": StepLR(AdamW([torch.nn.Parameter(torch.zeros(1))]), 1)},
            "instance of StepLR; acc",
        ),
        ({"schedule": "Cosine"}, r"schedule is 'Cosine'; accepted: a Schedule such as LinearWarmup\(\), a subclass"),
        ({"schedule": AdamW}, "schedule is <class .*AdamW'>; accepted"),
        ({"schedule": Cosine}, "schedule is <class .*Cosine'>; accepted"),
        ({"schedule": ReduceLROnPlateau}, "does not say what it watches. Accepted: Lightning's"),
        ({"schedule": functools.partial(ReduceLROnPlateau, patience=1)}, "does not say what it watches"),
    ],
)
def test_what_makes_no_optimizer_and_no_schedule_is_said_at_once(arguments, message):
    with pytest.raises(ValueError, match=message):
        GradDiff(tiny(), **arguments)


def test_what_has_made_no_schedule_is_said_before_training():
    with pytest.raises(ValueError, match="schedule has made a NoneType; accepted"):
        fit(GradDiff(tiny(), schedule=lambda optimizer: None), questions())
    with pytest.raises(ValueError, match="does not say what it watches"):
        fit(GradDiff(tiny(), schedule=lambda optimizer: ReduceLROnPlateau(optimizer)), questions())


def test_the_default_is_as_it_was():
    assert set(fit(GradDiff(tiny(), schedule=Constant()), questions())) == {1e-5}
