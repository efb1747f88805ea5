"""The chain of classes under every method, and the length of their constructors."""

import inspect

import lightning.pytorch as pl
import pytest

from unlearn_pl import modules
from unlearn_pl.modules import ModelModule, UnlearningModule
from unlearn_pl.recording import Recorded
from unlearn_pl.types import StreamReader

PRESETS = [
    cls
    for cls in map(vars(modules).get, modules.__all__)
    if inspect.isclass(cls) and issubclass(cls, UnlearningModule) and cls is not UnlearningModule
]


@pytest.mark.parametrize("preset", PRESETS, ids=lambda cls: cls.__name__)
def test_a_preset_is_an_unlearning_module_with_few_arguments_of_its_own(preset):
    assert preset.__bases__ == (UnlearningModule,)
    assert len(inspect.signature(preset).parameters) <= 12


def test_the_chain_ends_in_lightning():
    assert len(PRESETS) >= 21
    assert UnlearningModule.__bases__ == (ModelModule,)
    assert ModelModule.__bases__ == (Recorded, StreamReader, pl.LightningModule)
