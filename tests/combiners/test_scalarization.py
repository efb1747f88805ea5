"""Fixed weights."""

import math

import pytest
import torch

from unlearn_pl.combiners import LinearRamp, Scalarization
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


def test_a_ramp_is_the_schedule_of_circuit_breakers():
    """``a (1 - s)`` for rerouting and ``a s`` for retaining, with ``s = step / 300``."""
    combiner = make_combiner({"forget": LinearRamp(10, 0, 300), "retain": LinearRamp(0, 10, 300)})
    losses = torch.zeros(3)
    for step in range(310):
        share = min(step / 300, 1)
        expected = torch.tensor([10 * (1 - share), 10 * share, 1], dtype=torch.float64)
        torch.testing.assert_close(combiner(None, losses), expected)


def test_a_resumed_ramp_goes_on_where_it_was():
    ramps = {"forget": LinearRamp(1, 0, 4)}
    first = make_combiner(ramps)
    for _ in range(3):
        first(None, torch.zeros(3))
    second = make_combiner(ramps)
    second.load_state_dict(first.state_dict())
    assert second(None, torch.zeros(3)).tolist() == first(None, torch.zeros(3)).tolist() == [0.25, 1, 1]
    first.setup(NAMES, ROLES)
    assert first(None, torch.zeros(3)).tolist() == [1, 1, 1]
    assert record(Scalarization(ramps))["init_args"]["weights"]["forget"]["init_args"] == {
        "start": 1,
        "end": 0,
        "steps": 4,
    }


@pytest.mark.parametrize("arguments", [(math.nan, 0, 5), (1, math.inf, 5), (1, 0, 0)])
def test_ramps_are_checked(arguments):
    with pytest.raises(ValueError, match="accepted"):
        LinearRamp(*arguments)


def test_ramps_are_written_in_yaml():
    from jsonargparse import ArgumentParser

    from unlearn_pl.combiners import Combiner

    parser = ArgumentParser()
    parser.add_argument("--combiner", type=Combiner)
    ramp = "{class_path: unlearn_pl.combiners.LinearRamp, init_args: {start: 10, end: 0, steps: 300}}"
    text = (
        f"{{class_path: unlearn_pl.combiners.Scalarization, init_args: {{weights: {{forget: {ramp}, retain: 2.0}}}}}}"
    )
    combiner = parser.instantiate_classes(parser.parse_args(["--combiner", text])).combiner
    combiner.setup(NAMES, ROLES)
    combiner(None, torch.zeros(3))
    assert combiner(None, torch.zeros(3)).tolist() == pytest.approx([10 * 299 / 300, 2, 1])
