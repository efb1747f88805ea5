"""Zeroth-order gradients under a Trainer: references, accumulation, resume, adapters, masks, warnings."""

import functools
import warnings

import lightning.pytorch as pl
import pytest
import torch

from tests import kit
from unlearn_pl.combiners import MinNorm
from unlearn_pl.gradients import Alternating, CoordinateWise, FirstOrder, RandomCoordinates, ZerothOrder
from unlearn_pl.masks import ElementMask
from unlearn_pl.models import CausalLM, LoRA, save_pretrained
from unlearn_pl.modules import MOLLM
from unlearn_pl.modules.fitting.memory import memory_plan
from unlearn_pl.optim import Constant
from unlearn_pl.references import AdapterReference, FrozenReference

OPTIONS = {"optimizer": functools.partial(torch.optim.SGD, lr=0.02), "schedule": Constant()}


class CountingReference(FrozenReference):
    """Counts its forward passes."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def annotate(self, stream, batch, needs, model):
        self.calls += 1
        return super().annotate(stream, batch, needs, model)


class Watching(pl.Callback):
    """Keeps which objectives took part in each step."""

    def __init__(self) -> None:
        self.live = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.live.append(pl_module.combiner.live.tolist())


def fit(
    steps=2, micro_batch_size=2, model=None, ckpt_path=None, save=None, dtype=torch.float64, callbacks=(), **options
):
    model = model or kit.model(dtype=dtype, dropout=0.5)
    module = MOLLM(model, **{"gradient": ZerothOrder(4), **OPTIONS, **options})
    trainer = kit.trainer(
        max_steps=steps, precision="64-true" if dtype == torch.float64 else "32-true", callbacks=[*callbacks]
    )
    trainer.fit(module, kit.Questions(batch_size=8, micro_batch_size=micro_batch_size), ckpt_path=ckpt_path)
    if save is not None:
        trainer.save_checkpoint(save)
    return module


def weights(module):
    return {name: p.detach().clone() for name, p in module.model.named_parameters()}


@pytest.mark.parametrize("source", [ZerothOrder(4), CoordinateWise(RandomCoordinates(4))])
def test_accumulation_and_reference(source):
    reference = CountingReference()
    one, four = (
        fit(2, size, gradient=source, reference=r) for size, r in ((8, None or FrozenReference()), (2, reference))
    )
    moved = 0.0
    start = dict(kit.model(dtype=torch.float64).named_parameters())
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(four)[name], value, rtol=0, atol=1e-9)
        moved = max(moved, (value - start[name]).abs().max().item())
    assert moved > 1e-6
    assert reference.calls == 2 * 4  # per step and micro-batch of the one stream that is compared
    assert four.model.training


def test_resume_is_the_same_bit_for_bit(tmp_path):
    source = Alternating([ZerothOrder(4), CoordinateWise(RandomCoordinates(4, redraw_every=2))], period=1)
    whole = weights(fit(4, gradient=source))
    fit(2, gradient=source, save=tmp_path / "half.ckpt")
    resumed = weights(fit(4, gradient=source, ckpt_path=tmp_path / "half.ckpt"))
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_adapters_alone_are_moved(tmp_path):
    save_pretrained(kit.model(), str(tmp_path / "model"), kit.tokenizer())
    spec = CausalLM(str(tmp_path / "model"), lora=LoRA(r=2))
    module = fit(2, model=spec, reference=AdapterReference(), dtype=torch.float32)
    base = dict(kit.model().named_parameters())
    changed = [name for name, value in weights(module).items() if "lora_B" in name and value.any()]
    assert changed
    for name, value in weights(module).items():
        if "lora_" not in name:
            assert torch.equal(value, base[name.removeprefix("base_model.model.").replace(".base_layer", "")])


def test_masked_elements_stay():
    start = dict(kit.model(dtype=torch.float64).named_parameters())
    name = next(n for n in start if "q_proj" in n)
    marks = torch.zeros(start[name].shape, dtype=torch.bool)
    marks[0] = True
    module = fit(2, mask=ElementMask({name: marks}))
    found = weights(module)[name]
    assert torch.equal(found[1:], start[name][1:])
    assert (found[0] != start[name][0]).all()


def test_what_is_unwise_warns():
    with pytest.warns(UserWarning, match="AdamW divides the gradient by its size"):
        fit(1, optimizer=torch.optim.AdamW)
    with pytest.warns(UserWarning, match="the last ones are by FirstOrder"):
        fit(1, gradient=Alternating(period=1))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(divides the gradient|the last ones).*")
        fit(2, gradient=Alternating(period=1))


def test_the_plan_of_memory_is_that_of_the_source_that_needs_most():
    plans = {}
    for source in (ZerothOrder(4), FirstOrder(), Alternating(period=1)):
        module = MOLLM(kit.model(), gradient=source, **OPTIONS)
        kit.trainer(max_steps=2).fit(module, kit.Questions(batch_size=4, micro_batch_size=2))
        plans[type(source).__name__] = memory_plan(module)
    assert plans["Alternating"] == plans["FirstOrder"]
    assert plans["ZerothOrder"].peak < plans["FirstOrder"].peak
    assert plans["ZerothOrder"].forward_only
    assert plans["ZerothOrder"].kept_logits == 2  # the micro-batches of the stream that is compared
    assert plans["ZerothOrder"].held == 1


# With fewer coordinates, the noise of one draw says little about that of the next.
@pytest.mark.parametrize("source", [ZerothOrder(4), CoordinateWise(RandomCoordinates(32, redraw_every=1))])
def test_the_divergence_is_inactive_as_long_as_the_model_is_its_reference(source):
    still = functools.partial(torch.optim.SGD, lr=0.0)
    for is_original, normal in ((True, False), (False, True)):  # what is measured there is noise, but not 0
        reference = FrozenReference()
        reference.is_original = is_original
        watching = Watching()
        options = {"gradient": source, "reference": reference, "optimizer": still, "combiner": MinNorm()}
        fit(3, 8, dtype=torch.float32, callbacks=[watching], **options)
        assert watching.live == [[True, normal, True]] * 3
