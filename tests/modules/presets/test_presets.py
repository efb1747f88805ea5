"""What each preset descends, and with which defaults."""

import functools

import pytest
import torch

from tests import kit
from unlearn_pl.combiners import DualBasis, MinNorm, Scalarization
from unlearn_pl.data import step_indices
from unlearn_pl.modules import MOLLM, FineTuning, GradAscent, GradDiff
from unlearn_pl.optim import Constant
from unlearn_pl.references import FrozenReference

LR = 0.1
OPTIONS = {"optimizer": functools.partial(torch.optim.SGD, lr=LR), "schedule": Constant(), "gradient_clip_val": None}


def one_step(module, **data_options):
    data = kit.Questions(**({"batch_size": 8, "micro_batch_size": 8} | data_options))
    kit.trainer(max_steps=1, precision="64-true").fit(module, data)
    return module


def nll(model, stream: str, count: int) -> torch.Tensor:
    """Token mean over the first step's answers, one unpadded sequence at a time, straight from transformers."""
    tokenizer, rows, losses = kit.tokenizer(), kit.rows(stream.title(), count), []
    for i in step_indices(0, stream, 0, 8, count):
        prompt = tokenizer(f"Question: {rows[i]['question']}\nAnswer:")["input_ids"]
        ids = tokenizer(f"Question: {rows[i]['question']}\nAnswer: {rows[i]['answer']}")["input_ids"]
        ids = torch.tensor([[*ids, tokenizer.eos_token_id]])
        logps = model(input_ids=ids).logits[0, :-1].double().log_softmax(-1)
        losses.append(-logps.gather(1, ids[0, 1:, None])[len(prompt) - 1 :, 0])
    return torch.cat(losses).mean()


@pytest.mark.parametrize(
    ("preset", "data_options", "loss"),
    [
        (GradAscent, {}, lambda m: -nll(m, "forget", 16)),
        (
            functools.partial(GradDiff, forget_weight=0.5),
            {},
            lambda m: -0.5 * nll(m, "forget", 16) + nll(m, "retain", 24),
        ),
        (FineTuning, {"streams": ["train"]}, lambda m: nll(m, "train", 24)),
        (functools.partial(FineTuning, stream="retain"), {}, lambda m: nll(m, "retain", 24)),
    ],
)
def test_the_step_follows_the_formula(preset, data_options, loss):
    module = one_step(preset(kit.model(dtype=torch.float64), **OPTIONS), **data_options)
    fresh = kit.model(dtype=torch.float64)
    loss(fresh).backward()
    expected = [p.detach() - LR * p.grad for p in fresh.parameters()]
    torch.testing.assert_close([p.detach() for p in module.model.parameters()], expected, rtol=1e-9, atol=1e-11)


def test_another_combiner_takes_the_place_of_the_weights():
    module = one_step(GradDiff(kit.model(dtype=torch.float64), 5.0, combiner=MinNorm(), **OPTIONS))
    assert isinstance(module.combiner, MinNorm)
    assert module.windows_closed == 1


def test_mollm_is_uce_kl_and_nll_with_min_norm_weights():
    module = MOLLM(kit.model())
    described = {n: (type(o).__name__, o.streams, o.role) for n, o in module.objectives.items()}
    assert described == {
        "forget": ("UnlearningCrossEntropyLoss", ("forget",), "forget"),
        "normal": ("KLDivergenceLoss", ("retain",), "retain"),
        "retain": ("CausalLMLoss", ("retain",), "retain"),
    }
    assert type(module.combiner) is MinNorm
    assert type(module.reference) is FrozenReference
    assert type(MOLLM(kit.model(), DualBasis()).combiner) is DualBasis


@pytest.mark.parametrize(
    ("named", "streams", "read"),
    [
        (None, ["forget", "retain"], "retain"),
        (None, ["forget", "retain", "normal"], "normal"),
        ("retain", ["forget", "retain", "normal"], "retain"),
    ],
)
def test_mollm_reads_the_normal_stream_when_there_is_one(named, streams, read):
    module = one_step(MOLLM(kit.model(dtype=torch.float64), normal_stream=named, **OPTIONS), streams=streams)
    assert module.objectives["normal"].streams == (read,)


def test_defaults_are_those_of_the_papers():
    module = GradAscent(kit.model())
    optimizer = module.optimizer(module.model.parameters())
    assert type(optimizer) is torch.optim.AdamW
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (1e-5, 0.01)
    assert type(module.schedule).__name__ == "LinearWarmup"
    assert module.schedule.warmup_epochs == 1.0
    assert type(GradDiff(kit.model()).combiner) is Scalarization


def test_components_of_one_preset_are_not_those_of_another():
    first, second = MOLLM(kit.model()), MOLLM(kit.model())
    assert first.combiner is not second.combiner
    assert first.reference is not second.reference
    first.objectives["normal"].stream = "elsewhere"
    assert second.objectives["normal"].stream == "retain"
