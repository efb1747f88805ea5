"""Weights that are not finite end a run, and are neither written to a checkpoint nor exported."""

import functools
import math

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from tests import kit
from unlearn_pl.callbacks import SavePretrained
from unlearn_pl.combiners import MinNorm
from unlearn_pl.models import CausalLM, LoRA, save_pretrained
from unlearn_pl.modules import GradDiff, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss
from unlearn_pl.optim import Constant


class Overflowing(torch.optim.SGD):
    """Its update overflows."""

    def __init__(self, parameters) -> None:
        super().__init__(parameters, lr=1e38)

    @torch.no_grad()
    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            torch._foreach_mul_(group["params"], 1e38)


def diff(optimizer=Overflowing, **options):
    return GradDiff(kit.model(), optimizer=optimizer, schedule=Constant(), **options)


def questions():
    return kit.Questions(batch_size=4, micro_batch_size=4, splits=[])


@pytest.mark.parametrize(
    ("module", "precision", "message"),
    [
        (
            lambda: diff(),
            "32-true",
            r"Overflowing has made values NaN or infinite before optimizer step",
        ),
        (lambda: diff(functools.partial(torch.optim.AdamW, lr=1e-3)), "16-true", r"AdamW .*rate is 0.001, .*'16-true'"),
    ],
)
def test_an_optimizer_that_destroys_the_weights_ends_the_run(tmp_path, module, precision, message):
    callbacks = [SavePretrained(str(tmp_path / "hf"), check=False)]
    with pytest.raises(ValueError, match=message):
        kit.trainer(max_steps=5, precision=precision, callbacks=callbacks).fit(module(), questions())
    assert not (tmp_path / "hf").exists()


def test_the_last_step_counts_too(tmp_path):
    callbacks = [SavePretrained(str(tmp_path / "hf"), check=False)]
    with pytest.raises(ValueError, match=r"in the last step: .*\. The learning rate is 1e\+38"):
        kit.trainer(max_steps=1, callbacks=callbacks).fit(diff(), questions())
    assert not (tmp_path / "hf").exists()


@pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")
def test_a_checkpoint_of_such_weights_is_not_written(tmp_path):
    saving = ModelCheckpoint(tmp_path, every_n_train_steps=1)
    trainer = kit.trainer(max_steps=5, callbacks=[saving], enable_checkpointing=True)
    with pytest.raises(ValueError, match="before a checkpoint was written"):
        trainer.fit(diff(), questions())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["weight", "moment"])
def test_a_checkpoint_of_such_values_is_not_resumed(tmp_path, place):
    made = functools.partial(torch.optim.AdamW, lr=1e-3)
    trainer = kit.trainer(max_steps=1)
    trainer.fit(diff(made), questions())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    if place == "weight":
        checkpoint["state_dict"]["model.model.norm.weight"][0] = math.inf
    else:
        checkpoint["optimizer_states"][0]["state"][0]["exp_avg_sq"][0, 0] = math.nan
    torch.save(checkpoint, tmp_path / "a.ckpt")
    name = {"weight": r"model\.norm\.weight", "moment": r"model\.embed_tokens\.weight \(exp_avg_sq\)"}[place]
    with pytest.raises(ValueError, match=rf"checkpoint holds values that are NaN or infinite: {name}\. Resume from an"):
        kit.trainer(max_steps=2).fit(diff(made), questions(), ckpt_path=tmp_path / "a.ckpt")


class BreaksAt(CausalLMLoss):
    """NaN from its step ``first`` on."""

    def __init__(self, first: int) -> None:
        super().__init__(stream="retain")
        self.first, self.calls = first, 0

    def loss(self, view):
        self.calls += 1
        return super().loss(view) * (math.nan if self.calls >= self.first else 1.0)


def breaking(first: int, on_nonfinite: str, max_steps: int) -> UnlearningModule:
    small = functools.partial(torch.optim.SGD, lr=1e-3)
    options = {"optimizer": small, "schedule": Constant(), "on_nonfinite": on_nonfinite}
    module = UnlearningModule(kit.model(), {"retain": BreaksAt(first)}, MinNorm(), **options)
    # Lightning's max_steps counts steps that were taken.
    kit.trainer(max_epochs=1, limit_train_batches=max_steps).fit(
        module, kit.Questions(retain=24, batch_size=1, micro_batch_size=1, splits=[])
    )
    return module


@pytest.mark.parametrize("on_nonfinite", ["skip", "drop"])
def test_a_run_that_skips_most_steps_ends(on_nonfinite):
    assert breaking(11, on_nonfinite, 20).skipped["nonfinite"] == 10
    with pytest.raises(ValueError, match=r"11 of 20 optimizer steps were skipped.* of the last one: retain nan\."):
        breaking(10, on_nonfinite, 24)
    with pytest.warns(UserWarning, match="3 of 4 optimizer steps were skipped"):
        breaking(2, on_nonfinite, 4)


def test_a_learning_rate_that_is_not_finite_is_an_error_before_training():
    with pytest.raises(ValueError, match="learning rate of SGD is inf; accepted: a finite number"):
        kit.trainer(max_steps=1).fit(diff(functools.partial(torch.optim.SGD, lr=math.inf)), questions())


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
def test_a_bound_that_is_no_norm_is_an_error_before_training(value):
    with pytest.raises(ValueError, match=r"gradient_clip_val is .*; accepted: a positive norm, or None"):
        diff(gradient_clip_val=value)
    module = diff()
    module.gradient_clip_val = value
    with pytest.raises(ValueError, match=r"gradient_clip_val is .*; accepted: a positive norm, or None"):
        kit.trainer(max_steps=1).fit(module, questions())


@pytest.mark.parametrize("form", ["plain", "adapter", "merged"])
def test_no_exporter_writes_such_weights(tmp_path, form):
    kit.model().save_pretrained(tmp_path / "base")
    model = CausalLM(str(tmp_path / "base"), lora=None if form == "plain" else LoRA()).build()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    trained[0].data.view(-1)[0] = math.nan
    with pytest.raises(ValueError, match="The model is not exported, because it has weights that are NaN or infinite"):
        save_pretrained(model, tmp_path / "out", merge_lora=form == "merged")
    assert not (tmp_path / "out").exists()
