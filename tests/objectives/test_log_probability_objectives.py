"""Objectives on log-probabilities: the streams and fields that they read, and the arguments that they accept."""

import pytest

from unlearn_pl.objectives import (
    CEULoss,
    DPOLoss,
    KTOLoss,
    NPOLoss,
    RefusalLoss,
    SatImpLoss,
    SimNPOLoss,
    TNPOLoss,
    WGALoss,
)
from unlearn_pl.recording import record

PAIR = ("forget.alternate", "forget")


@pytest.mark.parametrize(
    ("cls", "stream", "mean_over", "needs"),
    [
        (NPOLoss, "forget", "sequences", {"ref_logps"}),
        (SimNPOLoss, "forget", "sequences", set()),
        (DPOLoss, PAIR, "sequences", {"ref_logps"}),
        (KTOLoss, PAIR, "sequences", {"ref_logps"}),
        (RefusalLoss, "forget.alternate", "tokens", set()),
        (TNPOLoss, "forget", "tokens", {"ref_logps"}),
        (WGALoss, "forget", "tokens", set()),
        (SatImpLoss, "forget", "tokens", set()),
        (CEULoss, "forget", "tokens", {"logits"}),
    ],
)
def test_what_the_engine_reads(cls, stream, mean_over, needs):
    objective = cls()
    assert (objective.stream, cls.stream) == (stream, stream)
    assert (objective.role, objective.mean_over, objective.needs) == ("forget", mean_over, needs)
    assert not objective.zero_at_reference
    assert not list(objective.parameters())
    arguments = {"alternate": "a", "forget": "b"} if stream == PAIR else {"stream": "b"}
    other = cls(**arguments)
    assert other.streams == tuple(arguments.values())
    assert record(other)["init_args"] == arguments


@pytest.mark.parametrize(
    ("cls", "arguments", "named"),
    [
        (NPOLoss, {"beta": 0.0}, "beta is 0.0"),
        (NPOLoss, {"beta": float("inf")}, "beta is inf"),
        (SimNPOLoss, {"beta": -1.0}, "beta is -1.0"),
        (SimNPOLoss, {"delta": -0.1}, "delta is -0.1"),
        (DPOLoss, {"beta": float("nan")}, "beta is nan"),
        (KTOLoss, {"beta": 0}, "beta is 0"),
        (TNPOLoss, {"beta": 0.0}, "beta is 0.0"),
        (WGALoss, {"beta": -1.0}, "beta is -1.0"),
        (SatImpLoss, {"beta1": -5.0}, "beta1 is -5.0"),
        (SatImpLoss, {"beta2": float("nan")}, "beta2 is nan"),
        (CEULoss, {"ignore_first_n": -1}, "ignore_first_n is -1"),
    ],
)
def test_bad_arguments_are_refused_by_name(cls, arguments, named):
    with pytest.raises(ValueError, match=named):
        cls(**arguments)
