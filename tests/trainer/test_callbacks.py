"""The effect of every callback of Lightning on a run with a gradient per objective."""

import csv
from datetime import timedelta
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch import callbacks
from lightning.pytorch.loggers import CSVLogger

from tests import kit
from tests.trainer.tiny_run import ADAMW, Seen, assert_same, data, fit, model, module, weights
from unlearn_pl.models import CausalLM, LoRA, save_pretrained
from unlearn_pl.modules import NPO, FSDP2Strategy, GradDiff
from unlearn_pl.modules.fitting.lightning_callbacks import check_callbacks


@pytest.fixture(scope="module")
def plain():
    """The weights after each step of a run of 2 epochs without any callback."""
    seen = Seen()
    fit(seen, max_epochs=2)
    return seen.steps


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    """A model that is loaded when training starts."""
    path = tmp_path_factory.mktemp("model") / "hf"
    save_pretrained(model(), path, kit.tokenizer())
    return str(path)


def column(folder: Path, key: str) -> list[tuple[int, float]]:
    """Steps and values of what was logged under ``key``."""
    (found,) = folder.glob("**/metrics.csv")
    rows = csv.DictReader(found.read_text().splitlines())
    return [(int(row["step"]), float(row[key])) for row in rows if row.get(key)]


# Averages ------------------------------------------------------------------------------------------------------------


def averaged(steps, weight):
    """The running average of the weights: ``weight`` is the share of a new one, by how many there are."""
    found = {name: value.clone() for name, value in steps[1].items()}
    for count in range(2, len(steps) + 1):
        for name, value in steps[count].items():
            found[name] += (value - found[name]) * weight(count)
    return found


@pytest.mark.parametrize("loaded", [False, True], ids=["live", "loaded"])
@pytest.mark.parametrize(
    ("make", "weight"),
    [
        (lambda: callbacks.EMAWeightAveraging(decay=0.5), lambda count: 0.5),
        (callbacks.WeightAveraging, lambda count: 1 / count),
    ],
    ids=["exponential", "mean"],
)
def test_the_model_ends_with_the_average_of_the_weights(make, weight, loaded, folder, plain):
    seen = Seen()
    trained = NPO(folder if loaded else model(), optimizer=ADAMW)
    fit(seen, make(), module=trained, max_epochs=2, limit_val_batches=1)
    without = Seen()
    fit(without, module=NPO(model(), optimizer=ADAMW), max_epochs=2)
    assert_same(seen.steps[4], without.steps[4])  # training goes on with its own weights
    expected = averaged(seen.steps, weight)
    for name, value in weights(trained).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-7)
    first = averaged({step: seen.steps[step] for step in (1, 2)}, weight)
    for name, value in seen.validated[0].items():
        torch.testing.assert_close(value, first[name], rtol=1e-5, atol=1e-7)


def test_a_run_with_an_average_resumes(folder, tmp_path):
    def run(**options):
        return fit(callbacks.EMAWeightAveraging(decay=0.5), module=NPO(folder, optimizer=ADAMW), **options)

    trainer, _ = run()
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    whole = run(max_epochs=2)[1]
    assert_same(weights(run(max_epochs=2, ckpt_path=saved(tmp_path, run))[1]), weights(whole))


def saved(tmp_path, run) -> Path:
    """A checkpoint of the second of four steps."""

    class Save(pl.Callback):
        def on_train_batch_end(self, trainer, *_) -> None:
            if trainer.global_step == 2:
                trainer.save_checkpoint(tmp_path / "two.ckpt")

    run(max_epochs=2, callbacks=[callbacks.EMAWeightAveraging(decay=0.5), Save()])
    return tmp_path / "two.ckpt"


def test_averages_that_cannot_be_are_refused(folder, tmp_path):
    average = callbacks.WeightAveraging()
    with pytest.raises(ValueError, match=r"WeightAveraging does not work here: it copies .*Use .*AveragedW"):
        check_callbacks(NPO(folder), kit.trainer(callbacks=[average], strategy=FSDP2Strategy()))
    path = tmp_path / "adapter.ckpt"
    fit(average, module=GradDiff(CausalLM(folder, lora=LoRA(r=2))))[0].save_checkpoint(path)
    with pytest.raises(ValueError, match=r"it cannot resume from .* adapters alone. Use .*AveragedWeights"):
        fit(average, module=GradDiff(CausalLM(folder, lora=LoRA(r=2))), ckpt_path=path)


# What replaces them --------------------------------------------------------------------------------------------------


class Frozen(callbacks.BaseFinetuning):
    """Trains the layers from the second epoch on."""

    def freeze_before_training(self, pl_module) -> None:
        self.freeze(pl_module.model.model.layers)

    def finetune_function(self, pl_module, epoch, optimizer) -> None:
        if epoch == 1:
            self.unfreeze_and_add_param_group(pl_module.model.model.layers, optimizer)


REFUSED = {
    "BackboneFinetuning": (callbacks.BackboneFinetuning, r"mask=TrainableParameters"),
    "BaseFinetuning": (Frozen, r"mask=TrainableParameters"),
    "BatchSizeFinder": (callbacks.BatchSizeFinder, r"lower micro_batch_size"),
    "GradientAccumulationScheduler": (
        lambda: callbacks.GradientAccumulationScheduler({0: 2}),
        r"Set batch_size \(per optimizer step\) and micro_batch_size",
    ),
    "LearningRateFinder": (callbacks.LearningRateFinder, r"optimizer=partial\(AdamW, lr="),
    "ModelPruning": (lambda: callbacks.ModelPruning("l1_unstructured", amount=0.5), "with a mask such as MaskFile"),
    "SpikeDetection": (callbacks.SpikeDetection, r"on_nonfinite.*EarlyStopping"),
    "StochasticWeightAveraging": (lambda: callbacks.StochasticWeightAveraging(1e-3), "AveragedWeights"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_callbacks_without_their_effect_are_refused(name):
    make, instead = REFUSED[name]
    trained = module()
    with pytest.raises(ValueError, match=f"does not work here: .*{instead}"):
        fit(make(), module=trained)
    assert_same(weights(trained), weights(module()))


def test_callbacks_of_the_module_are_checked_too():
    class Own(GradDiff):
        def configure_callbacks(self):
            return [*super().configure_callbacks(), callbacks.StochasticWeightAveraging(1e-3)]

    with pytest.raises(ValueError, match="StochasticWeightAveraging does not work here"):
        fit(module=module(Own))


def test_the_tuner_is_refused_as_its_callbacks_are():
    with pytest.raises(ValueError, match="LearningRateFinder does not work here"):
        pl.tuner.Tuner(kit.trainer(max_epochs=1)).lr_find(module(), data())


def test_finetuning_with_an_optimizer_of_ones_own():
    class Own(GradDiff):
        def configure_optimizers(self):
            return ADAMW([parameter for parameter in self.model.parameters() if parameter.requires_grad])

    seen = Seen()
    fit(seen, Frozen(), module=module(Own), max_epochs=2)
    start, layers = weights(module()), [name for name in seen.steps[1] if ".layers." in name]
    assert_same({name: seen.steps[2][name] for name in layers}, {name: start[name] for name in layers})
    assert all(not torch.equal(seen.steps[3][name], start[name]) for name in layers)


class Total(GradDiff):
    """Returns a loss, which is not descended, for callbacks that look at it."""

    def training_step(self, batch, batch_idx):
        super().training_step(batch, batch_idx)
        return {"loss": self.descent.losses.sum()}


def test_spikes_of_a_loss_that_the_step_returns():
    detection = callbacks.SpikeDetection(rtol=1e3)
    fit(detection, module=module(Total))
    assert detection.last_val == pytest.approx(float(detection.running_mean.compute()), abs=1.0)
    assert detection.last_val != 0


# What ends a run -----------------------------------------------------------------------------------------------------


def stop(trainer, *_) -> None:
    trainer.should_stop = True


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (lambda: callbacks.EarlyStopping("train/loss/retain", mode="max", patience=1), 4),
        (lambda: callbacks.EarlyStopping("train/loss/retain", mode="min", stopping_threshold=1e3), 2),
        (lambda: callbacks.Timer(timedelta(hours=1)), 8),
        (lambda: callbacks.Timer(timedelta(0)), 0),
        (lambda: callbacks.LambdaCallback(on_train_batch_end=stop), 1),
    ],
    ids=["worse", "good enough", "in time", "out of time", "own"],
)
def test_callbacks_that_end_a_run(make, steps):
    trainer, _ = fit(make(), max_epochs=4)
    assert trainer.global_step == steps


def test_a_checkpoint_is_written_when_a_run_breaks(tmp_path):
    class Broken(pl.Callback):
        def on_train_batch_end(self, trainer, *_) -> None:
            if trainer.global_step == 1:
                raise ArithmeticError("broken")

    with pytest.raises(ArithmeticError, match="broken"):
        fit(Broken(), callbacks.OnExceptionCheckpoint(tmp_path), enable_checkpointing=True)
    assert torch.load(tmp_path / "on_exception.ckpt", weights_only=True)["global_step"] == 1


# What is shown and logged --------------------------------------------------------------------------------------------


def test_learning_rates_are_logged(tmp_path):
    rates = []
    read = callbacks.LambdaCallback(on_train_batch_start=lambda trainer, *_: rates.append(rate_of(trainer)))
    fit(callbacks.LearningRateMonitor(), read, max_epochs=2, logger=CSVLogger(tmp_path), log_every_n_steps=1)
    assert [value for _, value in column(tmp_path, "lr-AdamW")] == pytest.approx(rates)
    assert len(set(rates)) == 4


def rate_of(trainer) -> float:
    return trainer.optimizers[0].param_groups[0]["lr"]


def test_statistics_of_the_device_are_logged(tmp_path):
    fit(callbacks.DeviceStatsMonitor(cpu_stats=True), logger=CSVLogger(tmp_path), log_every_n_steps=1)
    (found,) = tmp_path.glob("**/metrics.csv")
    assert "DeviceStatsMonitor.on_train_batch_end/cpu_percent" in found.read_text()


def test_throughput_counts_examples(tmp_path):
    def examples(batch) -> int:
        return sum(len(part["index"]) for stream in batch.values() for part in stream)

    monitor = callbacks.ThroughputMonitor(examples, window_size=2)
    fit(monitor, max_epochs=2, logger=CSVLogger(tmp_path), log_every_n_steps=1)
    assert [value for _, value in column(tmp_path, "train/samples")] == [8, 16, 24, 32]
    assert column(tmp_path, "train/device/samples_per_sec")


@pytest.mark.parametrize("kind", [callbacks.RichProgressBar, callbacks.TQDMProgressBar])
def test_progress_bars_show_steps_and_losses(kind, capsys):
    fit(kind(), enable_progress_bar=True)
    shown = capsys.readouterr()
    assert "2/2" in shown.out + shown.err
    assert "train/loss/forget" in shown.out + shown.err


@pytest.mark.parametrize("kind", [callbacks.ModelSummary, callbacks.RichModelSummary])
def test_summaries_know_a_model_that_is_loaded_when_training_starts(kind, folder, capsys, caplog):
    fit(kind(max_depth=2), module=GradDiff(folder), enable_model_summary=True)
    assert "LlamaForCausalLM" in capsys.readouterr().out + caplog.text


# The others ----------------------------------------------------------------------------------------------------------


def test_checkpoints_are_written_at_optimizer_steps(tmp_path):
    saving = callbacks.ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    fit(saving, max_epochs=2, enable_checkpointing=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"step={step}.ckpt" for step in (1, 2, 3, 4)]


def test_the_best_checkpoint_is_that_of_the_smallest_loss(tmp_path):
    saving = callbacks.ModelCheckpoint(tmp_path, monitor="train/loss/retain", save_top_k=1)
    trainer, _ = fit(saving, max_epochs=3, enable_checkpointing=True)
    assert saving.best_model_score == min(saving.best_k_models.values())
    assert saving.best_model_score == trainer.callback_metrics["train/loss/retain"]  # it falls


def test_callbacks_of_ones_own_change_nothing(plain, tmp_path):
    class Own(callbacks.Checkpoint):
        """One of the bases that Lightning exports."""

    class Bar(callbacks.ProgressBar):
        def disable(self) -> None:
            """Nothing is shown."""

    shown = {"enable_progress_bar": True, "enable_checkpointing": True}
    trainer, fitted = fit(Own(), callbacks.Callback(), Bar(), max_epochs=2, default_root_dir=tmp_path, **shown)
    assert_same(weights(fitted), plain[4])
    assert {"Own", "Callback", "Bar"} <= {type(each).__name__ for each in trainer.callbacks}


def test_predictions_are_given_to_writers():
    class Writer(callbacks.BasePredictionWriter):
        def write_on_batch_end(self, trainer, pl_module, prediction, indices, batch, batch_idx, dataloader_idx) -> None:
            written.extend(prediction["text"])

    written: list[str] = []
    trainer = kit.trainer(callbacks=[Writer("batch")])
    trainer.predict(module(max_new_tokens=2), data(splits=["forget"]), return_predictions=False)
    assert len(written) == 6
