"""A run resumes with the data, the optimizer and the arguments of its checkpoint, or says what differs."""

from functools import partial

import pytest
import torch
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR

from tests import kit
from tests.modules import test_learning_rates
from unlearn_pl.combiners import MinNorm, Scalarization
from unlearn_pl.data import StreamDataModule
from unlearn_pl.models import tiny_llama
from unlearn_pl.modules import GradDiff, UnlearningModule
from unlearn_pl.modules.fitting.settings import schedule_length, settled
from unlearn_pl.objectives import CausalLMLoss, SimNPOLoss
from unlearn_pl.optim import Constant, Cosine, LinearWarmup

ADAMW = partial(AdamW, lr=3e-3, weight_decay=0.1)


def tiny():
    return tiny_llama(len(kit.tokenizer()), hidden_size=8, num_layers=1, num_heads=1)


def questions(**options):
    return kit.Questions(**{"batch_size": 4, "micro_batch_size": 4, "splits": [], **options})


def fitted(module, data=None, ckpt_path=None, max_steps=3):
    trainer = kit.trainer(max_steps=max_steps)
    trainer.fit(module, data or questions(), ckpt_path=ckpt_path)
    return trainer


def diff(**options):
    return GradDiff(tiny(), **{"optimizer": ADAMW, "schedule": Constant(), **options})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "run.ckpt"
    fitted(diff(), max_steps=2).save_checkpoint(path)
    return path


def test_the_same_run_resumes_without_a_word(checkpoint):
    """Warnings are errors in tests."""
    fitted(diff(), questions(micro_batch_size=2), checkpoint)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"batch_size": 8},
            "trained with batch_size=4, but the run has batch_size=8 now. Resume with",
        ),
        ({"seed": 1}, "trained with seed=0, but the run has seed=1 now"),
        ({"forget": 15}, "trained with examples.forget=16, but the run has examples.forget=15 now"),
        ({"max_length": 100, "truncate": True}, "with other examples in its stream 'forget'"),
    ],
)
def test_other_data_is_an_error(checkpoint, options, message):
    module = diff()
    with pytest.raises(ValueError, match=message):
        fitted(module, questions(**options), checkpoint)
    assert module.windows_closed == 2  # of the checkpoint: no step was taken


def test_other_rows_are_an_error(checkpoint):
    class Others(kit.Questions):
        def load_streams(self):
            return {**super().load_streams(), "retain": kit.rows("Other", 24)}

    message = (
        r"other examples in its stream 'retain' \(fingerprint \w{12}\) than the run has now \(\w{12}\): other rows"
    )
    with pytest.raises(ValueError, match=message):
        fitted(diff(), Others(batch_size=4, splits=[]), checkpoint)


def test_an_evaluation_may_have_other_data(checkpoint):
    kit.trainer().test(diff(), questions(seed=5, splits=["forget"], max_eval_examples=1), ckpt_path=checkpoint)


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no")
def test_examples_of_any_kind_are_counted(tmp_path):
    class Digits(StreamDataModule):
        def __init__(self, count: int) -> None:
            super().__init__(batch_size=2, micro_batch_size=2)
            self.count = count

        def load_streams(self):
            row = {"input_ids": torch.arange(5), "attention_mask": torch.ones(5), "labels": torch.arange(5)}
            return {"forget": [row] * 4, "retain": [row] * self.count}

    fitted(diff(), Digits(6), max_steps=1).save_checkpoint(tmp_path / "a.ckpt")
    fitted(diff(), Digits(6), tmp_path / "a.ckpt", max_steps=2)
    with pytest.raises(ValueError, match=r"examples\.retain=6, but the run has examples\.retain=5 now"):
        fitted(diff(), Digits(5), tmp_path / "a.ckpt", max_steps=2)


# The optimizer and its schedulers ------------------------------------------------------------------------------------


def rate(module) -> float:
    return module.optimizers().param_groups[0]["lr"]


def test_other_arguments_of_the_optimizer_are_those_of_the_checkpoint_and_said_every_time(checkpoint, tmp_path):
    message = (
        r"optimizer.lr=0.003 in the checkpoint, 0.5 now; optimizer.weight_decay=0.1 .*, 0 now. Used: the checkpoint's"
    )
    for path in (checkpoint, tmp_path / "again.ckpt"):
        module = diff(optimizer=partial(AdamW, lr=0.5, weight_decay=0))
        with pytest.warns(UserWarning, match=message):
            fitted(module, None, path).save_checkpoint(tmp_path / "again.ckpt")
        assert rate(module) == 3e-3


@pytest.mark.parametrize(
    ("schedule", "said"),
    [(Cosine(), "Resuming with total_steps=3, where the checkpoint's run had 2"), (Constant(), None)],
)
def test_another_length_of_the_run_is_said_where_the_schedule_depends_on_it(tmp_path, caplog, schedule, said):
    caplog.set_level("INFO")
    fitted(diff(schedule=schedule), max_steps=2).save_checkpoint(tmp_path / "a.ckpt")
    fitted(diff(schedule=schedule), None, tmp_path / "a.ckpt", max_steps=3)
    told = [message for message in caplog.messages if message.startswith("Resuming with")]
    assert len(told) == (said is not None)
    assert said is None or told[0].startswith(said)


def test_only_lengths_that_a_schedule_depends_on_are_kept():
    assert schedule_length(Constant(), 4, 12) == {}
    assert schedule_length(Constant(1.0), 4, 12) == {"steps_per_epoch": 4}
    assert schedule_length(Cosine(), 4, 12) == {"total_steps": 12}
    assert schedule_length(LinearWarmup(), 4, 12) == {"steps_per_epoch": 4, "total_steps": 12}


def test_another_schedule_is_used_and_said(checkpoint):
    module = diff(schedule=Cosine(warmup_epochs=2.0))
    message = r"schedule=Constant\(warmup_epochs=0.0, .*\) in the checkpoint, Cosine\(warmup_epochs=2.0, .* Used: what"
    with pytest.warns(UserWarning, match=message):
        fitted(module, None, checkpoint)
    assert rate(module) < 3e-3
    with pytest.warns(UserWarning, match=r"schedule.warmup_epochs=0.0 in the checkpoint, 3.0 now"):
        fitted(diff(schedule=Constant(3.0)), None, checkpoint)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"optimizer": partial(SGD, lr=0.1)},
            "trained with optimizer 'AdamW', but the run has 'SGD' now, which",
        ),
        (
            {"schedule": partial(ExponentialLR, gamma=0.5)},
            r"schedulers \['StepwiseLR'\], but the run has \['Exp",
        ),
    ],
)
def test_another_optimizer_or_scheduler_is_an_error(checkpoint, options, message):
    with pytest.raises(ValueError, match=message):
        fitted(diff(**options), None, checkpoint)


class Configured(GradDiff):
    """Configures its optimizer itself."""

    def __init__(self, configured) -> None:
        super().__init__(tiny())
        self.configured = configured

    def configure_optimizers(self):
        return self.configured(list(self.model.parameters()))


def groups(weights):
    return AdamW([{"params": weights[:2], "lr": 0.1}, {"params": weights[2:]}], lr=0.2)


def cosine(steps, interval="step"):
    def configured(weights):
        optimizer = groups(weights)
        scheduler = CosineAnnealingLR(optimizer, T_max=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": interval}}

    return configured


def test_optimizers_of_ones_own_are_compared_too(tmp_path):
    path = tmp_path / "own.ckpt"
    fitted(Configured(cosine(10)), max_steps=2).save_checkpoint(path)
    fitted(Configured(cosine(10)), None, path)
    with pytest.warns(
        UserWarning, match=r"CosineAnnealingLR.T_max=10 in the checkpoint, 20 now. Used: the checkpoint's"
    ):
        fitted(Configured(cosine(20)), None, path)
    with pytest.warns(UserWarning, match=r"CosineAnnealingLR.interval='step' in the checkpoint, 'epoch' now. Used: "):
        fitted(Configured(cosine(10, "epoch")), None, path)
    with pytest.raises(ValueError, match=r"schedulers \['CosineAnnealingLR'\], but the run has \[\] now"):
        fitted(Configured(groups), None, path)
    with pytest.raises(ValueError, match="number of parameter groups 2, but the run has 1 now"):
        fitted(diff(), None, path)


def test_a_checkpoint_from_before_settings_were_kept_says_that_the_optimizer_is_another(checkpoint, tmp_path):
    old = torch.load(checkpoint, weights_only=True)
    del old["unlearn_pl_run"], old["unlearn_pl_rates"]
    torch.save(old, tmp_path / "old.ckpt")
    fitted(diff(), questions(seed=3), tmp_path / "old.ckpt")
    with pytest.raises(ValueError, match="optimizer has no dampening, momentum, nesterov, which SGD needs"):
        fitted(diff(optimizer=partial(SGD, lr=0.1)), None, tmp_path / "old.ckpt")


# Counters -------------------------------------------------------------------------------------------------------------


def changed(entry, *keys, value):
    for key in keys[:-1]:
        entry = entry[key]
    entry[keys[-1]] = value


LOOP = ("loops", "fit_loop")
BATCHES = (*LOOP, "epoch_loop.batch_progress")


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("global_step",), -1, "global_step=-1"),
        (("global_step",), 7, "global_step=7, but the optimizer has taken 2 steps"),
        (("epoch",), 5, "epoch=5, but 0 epochs are processed"),
        (("unlearn_pl", "windows_closed"), -2, "windows_closed=-2"),
        (("unlearn_pl", "windows_closed"), 2.5, "windows_closed=2.5"),
        (("unlearn_pl", "skipped", "nonfinite"), -1, "skipped.nonfinite=-1"),
        ((*BATCHES, "total", "completed"), -1, "batches.total.completed=-1"),
        ((*BATCHES, "current", "processed"), 9, "batches.current: processed=9, but started=2"),
        ((*BATCHES, "total", "ready"), 1, "batches.total: started=2, but ready=1"),
        ((*LOOP, "epoch_progress", "total", "processed"), 3, "epochs.total: processed=3, but started=1"),
    ],
)
def test_impossible_counters_are_an_error(checkpoint, tmp_path, keys, value, message):
    loaded = torch.load(checkpoint, weights_only=True)
    changed(loaded, *keys, value=value)
    torch.save(loaded, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=rf"counters that no run can have: .*{message}"):
        fitted(diff(), None, tmp_path / "a.ckpt")


# Objectives, combiner, options ---------------------------------------------------------------------------------------


def test_other_arguments_of_the_descent_are_used_and_said(tmp_path):
    def module(delta, weight, **options):
        objectives = {"forget": SimNPOLoss(delta=delta), "retain": CausalLMLoss()}
        return UnlearningModule(tiny(), objectives, Scalarization({"retain": weight}), optimizer=ADAMW, **options)

    fitted(module(0.0, 1.0), max_steps=1).save_checkpoint(tmp_path / "a.ckpt")
    message = (
        r"objectives.forget.delta=0.0 in the checkpoint, 0.5 now; combiner.weights.retain=1.0 in the checkpoint, 3.0 "
        "now; gradient_clip_val=1.0 in the checkpoint, 2.0 now. Used: what is given now"
    )
    with pytest.warns(UserWarning, match=message):
        fitted(module(0.5, 3.0, gradient_clip_val=2.0), None, tmp_path / "a.ckpt")


def test_a_default_is_compared_with_what_is_given():
    assert settled(MinNorm()) == settled(MinNorm(normalization=MinNorm()._normalization.kind))
    assert settled(MinNorm(norm_floor=0.3)) != settled(MinNorm())


def test_settings_outlive_an_evaluation(checkpoint, tmp_path):
    evaluated = diff()
    trainer = kit.trainer()
    trainer.test(evaluated, questions(splits=["forget"], max_eval_examples=1), ckpt_path=checkpoint, verbose=False)
    trainer.save_checkpoint(tmp_path / "again.ckpt")
    kept = [torch.load(path, weights_only=True)["unlearn_pl_run"] for path in (checkpoint, tmp_path / "again.ckpt")]
    assert kept[0] == kept[1]
    assert kept[0]["data"]["seed"] == 0


# Metrics that a scheduler waits for ----------------------------------------------------------------------------------


def test_a_plateau_that_waited_when_the_checkpoint_was_written_is_stepped_after_it(tmp_path):
    class Saving(test_learning_rates.Rates):
        def on_validation_end(self, trainer, pl_module) -> None:
            trainer.save_checkpoint(tmp_path / f"{self.validations}.ckpt")

    for name, at in (("plateau", 4), ("plateau per validation", 3)):
        whole, resumed = Saving(), test_learning_rates.Rates()
        options = {"max_epochs": 3, "limit_val_batches": 1, "val_check_interval": 2}
        configured, data = test_learning_rates.CONFIGURED[name], test_learning_rates.questions()
        kit.trainer(**options, callbacks=[whole]).fit(test_learning_rates.Configured(configured), data)
        resumed.validations = at
        path = tmp_path / f"{at}.ckpt"
        assert torch.load(path, weights_only=True)["unlearn_pl_rates"]["metrics"] == {
            "val/loss": [2.0, 0.5, 3.0][at - 2]
        }
        module = test_learning_rates.Configured(configured)
        kit.trainer(**options, callbacks=[resumed]).fit(module, data, ckpt_path=path)
        assert len(whole.used) == 12
        assert resumed.used == whole.used[2 * at :]
