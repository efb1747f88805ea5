"""Fixed weights."""

import math

import pytest
import torch

from unlearn_pl.combiners import Scalarization
from unlearn_pl.recording import record

NAMES, ROLES = ["forget", "retain", "kl"], ["forget", "retain", "retain"]


def make_combiner(weights=None):
    combiner = Scalarization(weights)
    combiner.setup(NAMES, ROLES)
    return combiner


def test_weights_are_those_given_and_1_otherwise():
    combiner = make_combiner({"kl": 0.0, "forget": -2.5})
    weights = combiner(None, torch.tensor([1.0, 2.0, 3.0]))
    assert weights.tolist() == [-2.5, 1.0, 0.0]
    assert weights.dtype == torch.float64
    assert make_combiner()(None, torch.zeros(3)).tolist() == [1.0, 1.0, 1.0]
    assert not Scalarization.uses_gramian


def test_nobody_is_left_out_whatever_the_losses():
    """Before the first step there are no losses yet: NaN."""
    combiner = make_combiner({"kl": 2.0})
    opposite = torch.tensor([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert combiner(None, torch.full((3,), torch.nan)).tolist() == [1.0, 1.0, 2.0]
    assert combiner(opposite, torch.zeros(3)).tolist() == [1.0, 1.0, 2.0]
    assert combiner.live.all()
    assert math.isnan(combiner.stationarity)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"\['retian'\].*\['forget', 'retain', 'kl'\]"):
        make_combiner({"retian": 1.0})


def test_arguments_are_recorded():
    assert record(Scalarization({"kl": 0.5}))["init_args"] == {"weights": {"kl": 0.5}}
