"""Histories are read back as they were logged; figures are real PNG files of what they were given."""

import csv
import math

import pytest

from unlearn_pl.report import plot_combination, plot_forgetting, plot_relearning, read_history


def write_metrics(path, rows):
    keys = sorted({key for row in rows for key in row})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, keys)
        writer.writeheader()
        writer.writerows(rows)


def test_history_keeps_every_value_at_its_step(tmp_path):
    rows = [{"step": 2, "train/loss/f": 0.5, "epoch": 0}, {"step": 1, "train/loss/f": 0.75}, {"step": 2, "val/x": 3}]
    write_metrics(tmp_path / "metrics.csv", rows)
    assert read_history(tmp_path / "metrics.csv") == {"train/loss/f": [(1, 0.75), (2, 0.5)], "val/x": [(2, 3.0)]}


def test_a_missing_history_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"metrics\.csv does not exist"):
        read_history(tmp_path / "metrics.csv")


def history(steps):
    series = {"train/cosine/a-b": [(s, -0.5) for s in steps]}
    for name, weight in (("a", 1.0), ("b", 0.0)):
        series |= {f"train/weight/{name}": [(s, weight) for s in steps]}
        series |= {f"train/grad_norm/{name}": [(s, 2.0) for s in steps]}
    for split in ("forget", "retain"):
        series[f"val/tofu/{split}_probability"] = [(s, 1 / s) for s in steps]
    return series


def test_figures_are_written_and_depend_on_what_they_show(tmp_path):
    pictures = []
    for i, steps in enumerate(([1, 2, 3], [1, 2, 4, 8])):
        plot_forgetting({"run": history(steps)}, {"target model": (0.9, 0.9)}, tmp_path / f"forgetting{i}.png")
        plot_combination(history(steps), tmp_path / "new folder" / f"combination{i}.png")
        pictures += [tmp_path / f"forgetting{i}.png", tmp_path / "new folder" / f"combination{i}.png"]
    contents = [picture.read_bytes() for picture in pictures]
    assert all(content.startswith(b"\x89PNG") for content in contents)
    assert len(set(contents)) == 4


@pytest.mark.parametrize("last", [math.nan, math.inf, 0.0])
def test_relearning_that_has_diverged_is_drawn(tmp_path, last):
    plot_relearning({"audited: Relearning": [(0, 0.0), (1, last)]}, tmp_path / "relearning.png")
    assert (tmp_path / "relearning.png").read_bytes().startswith(b"\x89PNG")
