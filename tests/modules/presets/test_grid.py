"""Every method with every way to combine its gradients: two steps with accumulation, or the documented error."""

from functools import cache

import pytest
import torch

from tests import kit
from tests.lenses import lens_file
from unlearn_pl import modules
from unlearn_pl.combiners import SAGO, DualBasis, MinNorm, PrimalDual, Scalarization, TorchJD, UPGrad
from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.modules import FineTuning, UnlearningModule
from unlearn_pl.optim import Constant

COMBINERS = {
    "Scalarization": Scalarization,
    "MinNorm": MinNorm,
    "DualBasis": DualBasis,
    "UPGrad": UPGrad,
    "PCGrad": lambda: TorchJD("PCGrad"),
    "SAGO": SAGO,
    "PrimalDual": lambda: PrimalDual(budget=1.0),
}
NEED_BOTH_ROLES = ("SAGO", "PrimalDual")
FORGET_ONLY = ("GradAscent", "CEU", "FLAT", "UNDIAL")
LENS = {"lens": lens_file(32, len(kit.tokenizer())), "layers": [1]}
ARGUMENTS = {"RMU": {"layer": 1}, "TunedLens": LENS}  # the tiny model has two layers
OF_IMAGES = ("ESD", "EraseDiff", "SalUn")  # tests/models/diffusion/test_methods.py
PRESETS = sorted(
    name
    for name in modules.__all__
    if issubclass(getattr(modules, name), UnlearningModule)
    and name not in ("UnlearningModule", "FineTuning", *OF_IMAGES)
)


@cache
def data():
    authors = dict.fromkeys(("forget_authors", "retain_authors", "holdout_authors"), 1)
    return SyntheticAuthorsDataModule(
        kit.tokenizer(), **authors, general_facts=2, batch_size=4, micro_batch_size=2, splits=[]
    )


def make(preset: str, combiner: str):
    options = {"optimizer": lambda params: torch.optim.SGD(params, lr=1e-3), "schedule": Constant()}
    return getattr(modules, preset)(kit.model(), combiner=COMBINERS[combiner](), **ARGUMENTS.get(preset, {}), **options)


@pytest.mark.parametrize("combiner", COMBINERS)
@pytest.mark.parametrize("preset", PRESETS)
def test_cell(preset, combiner):
    if preset in FORGET_ONLY and combiner in NEED_BOTH_ROLES:
        with pytest.raises(ValueError, match=f"{combiner} needs an objective of role retain, but the objectives have"):
            make(preset, combiner)
        return
    module = make(preset, combiner)
    before = [p.detach().clone() for p in module.model.parameters()]
    kit.trainer(max_steps=2, max_epochs=1).fit(module, data())
    assert module.windows_closed == 2
    assert module.micro_batches_per_step == 2
    assert sum(module.skipped.values()) == 0
    assert module.descent.losses.isfinite().all()
    after = list(module.model.parameters())
    assert all(p.isfinite().all() for p in after)
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_grid_holds_every_method():
    assert len(PRESETS) == 21
    assert FineTuning.__name__ not in PRESETS
    for preset in PRESETS:
        roles = [o.role for o in make(preset, "MinNorm").objectives.values()]
        assert ("retain" in roles) == (preset not in FORGET_ONLY)
