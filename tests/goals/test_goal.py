"""Goals as users write them: what is accepted, what they come to, and how files record them."""

import pytest

from unlearn_pl.goals import AtLeast, AtMost
from unlearn_pl.recording import record


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        (AtMost(0.2), 0.2),
        (AtMost("holdout"), 0.5 * 0.36),
        (AtMost("holdout", share=1.0), 0.36),
        (AtMost(share=0.1), 0.1 * 0.8),
        (AtMost("start", share=0.25), 0.25 * 0.8),
        (AtLeast(share=0.9), 0.9 * 0.8),
        (AtLeast(0.7), 0.7),
        (AtMost(loss=3.5), 3.5),
    ],
)
def test_what_a_goal_comes_to(goal, expected):
    assert goal.value(start=0.8, holdout=0.36) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "level=None and loss=None"),
        ({"level": 0.2, "loss": 1.0}, r"level=0\.2 and loss=1\.0"),
        ({"level": "never"}, "level 'never'"),
        ({"level": 0.2, "share": 0.5}, r"level 0\.2 with share=0\.5"),
        ({"level": "start"}, "level 'start' with share=None"),
        ({"share": 0.0}, r"share must be in \(0, 1\]"),
        ({"share": 1.5}, r"share must be in \(0, 1\]"),
        ({"share": float("nan")}, r"share must be in \(0, 1\]"),
        ({"level": 3.0}, r"probability must be in \[0, 1\]. For a loss: AtMost\(loss=3\.0\)"),
    ],
)
def test_what_is_not_accepted(arguments, message):
    with pytest.raises(ValueError, match=f"AtMost was given .*{message}"):
        AtMost(**arguments)


def test_records():
    assert record({"forget": AtMost("holdout", share=0.5)}) == {
        "forget": {"class_path": "unlearn_pl.goals.AtMost", "init_args": {"level": "holdout", "share": 0.5}}
    }
    assert repr(AtLeast(share=0.9)) == "AtLeast('start', share=0.9)"
