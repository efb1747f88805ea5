"""The Pareto front of a sweep, by brute force and by hand."""

import itertools
import math
import random

import pytest

from unlearn_pl.report import pareto_front

AXES = {"forget": "lower", "retain": "higher"}


def test_the_front_is_what_no_other_setting_beats():
    rng = random.Random(0)
    for _ in range(20):
        runs = {f"s{i}": [{"forget": rng.randint(0, 5), "retain": rng.randint(0, 5)}] for i in range(8)}
        beaten = set()
        for (ours, [a]), (_, [b]) in itertools.permutations(runs.items(), 2):
            at_least = b["forget"] <= a["forget"] and b["retain"] >= a["retain"]
            if at_least and (b["forget"] < a["forget"] or b["retain"] > a["retain"]):
                beaten.add(ours)
        front = pareto_front(runs, AXES)
        assert set(front.best) == set(runs) - beaten
        forgets = [front.means[name]["forget"].value for name in front.best]
        assert forgets == sorted(forgets)


def test_means_and_intervals_over_seeds():
    front = pareto_front(
        {"a": [{"forget": x, "retain": 1.0, "passes": 5.0} for x in (0.1, 0.2, 0.6)]}, AXES, ["passes"]
    )
    mean = front.means["a"]["forget"]
    assert mean.value == pytest.approx(0.3)
    assert mean.half_width == pytest.approx(4.302653 * math.sqrt(0.07) / math.sqrt(3), rel=1e-6)
    assert mean.seeds == 3
    assert front.means["a"]["passes"].half_width == 0


def test_one_seed_has_no_interval():
    assert pareto_front({"a": [{"forget": 0.1, "retain": 1.0}]}, AXES).means["a"]["forget"].half_width is None


def test_a_setting_without_a_number_is_not_on_the_front():
    runs = {"a": [{"forget": 1.0, "retain": 0.0}], "b": [{"forget": math.nan, "retain": 1.0}], "c": [{"forget": 0.0}]}
    assert pareto_front(runs, AXES).best == ["a"]


def test_axes_that_no_run_has_are_an_error():
    with pytest.raises(ValueError, match=r"no run has utility.*forget, retain"):
        pareto_front({"a": [{"forget": 1.0, "retain": 0.0}]}, {"utility": "higher"})
    with pytest.raises(ValueError, match="no axis"):
        pareto_front({"a": [{"forget": 1.0}]}, {})
