"""The state of every combiner survives checkpoints, strict reloads and training in bf16."""

import inspect

import pytest
import torch

from tests import kit
from unlearn_pl import combiners
from unlearn_pl.combiners import Combiner, PrimalDual, TorchJD
from unlearn_pl.goals import AtMost
from unlearn_pl.modules import GradDiff
from unlearn_pl.optim import Constant

PLAIN = [
    name
    for name in combiners.__all__
    if inspect.isclass(cls := getattr(combiners, name)) and issubclass(cls, Combiner) and not inspect.isabstract(cls)
]
MAKE = {name: getattr(combiners, name) for name in PLAIN if name not in ("PrimalDual", "TorchJD")} | {
    "PrimalDual": lambda: PrimalDual(budget=3.0, step_size=0.1),
    "TorchJD-GradVac": lambda: TorchJD("GradVac"),
    "TorchJD-PCD": lambda: TorchJD("PCD"),
    "TorchJD-smoothed": lambda: TorchJD("PCGrad", smoothing=0.5),
    "MinNorm-ema": lambda: combiners.MinNorm(normalization="ema", weight_ema=0.5),
}


def fit(make, precision, max_steps, ckpt_path=None):
    options = {"optimizer": lambda params: torch.optim.SGD(params, lr=1e-2), "schedule": Constant()}
    combiner = make()
    goals = {"forget": AtMost(share=0.1)} if combiner.weighs_distances else None
    module = GradDiff(kit.model(), combiner=combiner, goals=goals, **options)
    trainer = kit.trainer(max_epochs=4, max_steps=max_steps, precision=precision)
    trainer.fit(module, kit.Questions(batch_size=8, micro_batch_size=4), ckpt_path=ckpt_path)
    return module, trainer


def tensors(state):
    if isinstance(state, torch.Tensor):
        return [state]
    values = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else []
    return [tensor for value in values for tensor in tensors(value)]


def assert_same(left, right):
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, list | tuple):
        for mine, theirs in zip(left, right, strict=True):
            assert_same(mine, theirs)
    elif isinstance(left, torch.Tensor):
        assert left.dtype == right.dtype
        assert torch.equal(left.nan_to_num(), right.nan_to_num())
    else:
        assert left == right


@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
@pytest.mark.parametrize("name", MAKE)
def test_state_survives_a_strict_reload(name, precision, tmp_path):
    module, trainer = fit(MAKE[name], precision, 3)
    trainer.save_checkpoint(tmp_path / "three.ckpt")
    state = module.combiner.state_dict()
    floating = [tensor for tensor in tensors(state) if tensor.is_floating_point()]
    assert all(tensor.dtype == torch.float64 and tensor.device.type == "cpu" for tensor in floating)

    again = MAKE[name]()
    loaded = GradDiff.load_from_checkpoint(tmp_path / "three.ckpt", model=kit.model(), combiner=again, optimizer=None)
    assert loaded.combiner is again
    assert_same(loaded.combiner.state_dict(), state)


@pytest.mark.parametrize("name", MAKE)
def test_a_resumed_run_equals_an_uninterrupted_one(name, tmp_path):
    whole, _ = fit(MAKE[name], "bf16-true", 6)
    _, trainer = fit(MAKE[name], "bf16-true", 4)
    trainer.save_checkpoint(tmp_path / "four.ckpt")
    resumed, _ = fit(MAKE[name], "bf16-true", 6, ckpt_path=tmp_path / "four.ckpt")
    assert resumed.windows_closed == 6
    assert_same(resumed.combiner.state_dict(), whole.combiner.state_dict())
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)
