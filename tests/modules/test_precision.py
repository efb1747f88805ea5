"""Every precision runs, and neither dropout nor recomputed activations change what a step means."""

import functools

import pytest
import torch

from tests import kit
from unlearn_pl.combiners import MinNorm, Scalarization
from unlearn_pl.models import CausalLM
from unlearn_pl.modules import MOLLM, GradDiff
from unlearn_pl.optim import Constant

SGD = functools.partial(torch.optim.SGD, lr=0.05)
OPTIONS = {"optimizer": SGD, "schedule": Constant()}


class RecordedMOLLM(kit.Recording, MOLLM):
    pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    kit.model().save_pretrained(path)
    return str(path)


def fit(module, precision="32-true", micro_batch_size=4, **options):
    data = kit.Questions(batch_size=8, micro_batch_size=micro_batch_size)
    kit.trainer(**({"max_epochs": 2} | options), precision=precision).fit(module, data)
    return module


def cosine(left, right) -> float:
    pairs = [(a.double().flatten(), b.double().flatten()) for a, b in zip(left, right, strict=True)]
    left, right = (torch.cat(side) for side in zip(*pairs, strict=True))
    return (left @ right / (left.norm() * right.norm())).item()


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize(
    ("precision", "dtype", "close"),
    [
        ("64-true", torch.float64, 1 - 1e-9),
        ("bf16-mixed", torch.float32, 0.998),
        ("bf16-true", torch.bfloat16, 0.99),
    ],
)
def test_every_precision_gives_the_rows_of_fp32(folder, precision, dtype, close, live):
    module = fit(RecordedMOLLM(kit.model() if live else folder, **OPTIONS), precision)
    exact = fit(RecordedMOLLM(kit.model(), **OPTIONS))
    assert {p.dtype for p in module.model.parameters()} == {dtype}
    assert module.windows_closed == 4
    assert module.skipped == {"nonfinite": 0, "stationary": 0}
    for name in ("forget", "retain"):
        assert cosine(module.history[0]["rows"][name], exact.history[0]["rows"][name]) > close
    torch.testing.assert_close(module.history[0]["weights"], exact.history[0]["weights"], rtol=0.05, atol=0)
    assert module.history[0]["gramian"].dtype == torch.float64
    assert all(p.isfinite().all() for p in module.model.parameters())


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_a_weighted_sum_runs_in_every_precision(precision):
    module = fit(GradDiff(kit.model(), 0.1, **OPTIONS), precision)
    assert module.trainer.global_step == 4
    assert module.descent.losses.isfinite().all()


@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed"])
def test_buffers_keep_their_type(folder, precision):
    """The frequencies of rotary embeddings would be rounded to 3 digits, and positions with them."""
    module = fit(GradDiff(folder, **OPTIONS), precision, max_steps=1)
    frequencies = kit.model().model.rotary_emb.inv_freq
    assert frequencies.dtype == torch.float32
    assert torch.equal(module.model.model.rotary_emb.inv_freq, frequencies)


@pytest.mark.parametrize(("precision", "dropout"), [("64-true", 0.0), ("bf16-true", 0.0), ("bf16-mixed", 0.1)])
def test_kl_is_left_out_at_the_first_step_and_enters_later(folder, precision, dropout):
    """With dropout or rounding, the KL gradient of the first step is noise, but never exactly zero."""
    model = kit.model(dropout=dropout) if dropout else folder
    options = OPTIONS | {"optimizer": functools.partial(torch.optim.SGD, lr=1.0)}
    module = fit(RecordedMOLLM(model, MinNorm(), **options), precision, max_epochs=6)
    kl = torch.stack([step["weights"][1] for step in module.history])
    assert kl[0] == 0
    assert (kl > 0).any()
    assert all(step["weights"].sum() > 0 for step in module.history)


def test_dropout_is_active_in_training_and_off_in_evaluation():
    module = fit(RecordedMOLLM(kit.model(dropout=0.5), **OPTIONS), max_steps=1)
    exact = fit(RecordedMOLLM(kit.model(), **OPTIONS), max_steps=1)
    assert cosine(module.history[0]["rows"]["retain"], exact.history[0]["rows"]["retain"]) < 0.999
    data = kit.Questions(batch_size=8, micro_batch_size=4)
    data.setup("validate")
    batch = next(iter(data.val_dataloader()["retain"]))
    module.eval()
    torch.testing.assert_close(module.score(batch)["nll"], module.score(batch)["nll"], rtol=0, atol=0)


@pytest.mark.parametrize("combiner", [MinNorm, Scalarization])
@pytest.mark.parametrize(("precision", "tolerance"), [("64-true", 1e-12), ("bf16-mixed", 1e-6)])
def test_recomputed_activations_change_nothing(folder, combiner, precision, tolerance):
    """Also where two objectives share a forward, whose graph is kept for the second backward."""
    states = []
    for checkpointing in (False, True):
        module = MOLLM(CausalLM(folder, gradient_checkpointing=checkpointing), combiner(), **OPTIONS)
        fit(module, precision, micro_batch_size=2)
        assert module.model.is_gradient_checkpointing == checkpointing
        states.append(list(module.model.parameters()))
    torch.testing.assert_close(*states, rtol=tolerance, atol=tolerance)
