"""Area and steps of relearning curves, against fine grids and closed forms."""

import math

import numpy as np
import pytest

from unlearn_pl.robustness import curve_area, steps_to_level
from unlearn_pl.robustness.attacks.relearning import summarize

STEPS, VALUES = [0, 3, 10, 12], [0.1, 0.4, 0.2, 0.9]


def test_the_area_is_the_mean_of_the_interpolated_curve():
    grid = np.linspace(0, 12, 120_001)
    assert curve_area(STEPS, VALUES) == pytest.approx(np.interp(grid, STEPS, VALUES).mean(), abs=1e-5)
    assert curve_area([5, 7, 20], [0.3, 0.3, 0.3]) == pytest.approx(0.3)


@pytest.mark.parametrize("level", [0.1, 0.15, 0.4, 0.41, 0.9])
def test_a_level_is_reached_where_the_interpolated_curve_first_does(level):
    grid = np.linspace(0, 12, 120_001)
    first = grid[np.argmax(np.interp(grid, STEPS, VALUES) >= level - 1e-12)]
    assert steps_to_level(STEPS, VALUES, level) == pytest.approx(first, abs=2e-4)


def test_a_level_that_is_never_reached_and_one_that_holds_from_the_start():
    assert steps_to_level(STEPS, VALUES, 0.95) is None
    assert steps_to_level(STEPS, VALUES, 0.05) == 0


def test_half_is_between_the_start_and_full_leakage():
    curve = {"step": [0, 10, 20], "forget_probability": [0.2, 0.5, 0.8], "forget_rouge": [0, 1, 1]}
    numbers = summarize(curve, {})
    assert numbers == pytest.approx({"forget_probability_area": 0.5, "forget_probability_half": 10 + 10 / 3})
    assert summarize(curve, {"forget_probability": 0.4})["forget_probability_half"] == pytest.approx(10 / 3)
    assert summarize(curve, {"forget_probability": 1.5})["forget_probability_half"] == math.inf
