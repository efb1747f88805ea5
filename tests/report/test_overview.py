"""The overview shows every model and every number that it is given."""

import itertools

import pytest

from unlearn_pl.report import figures, overview
from unlearn_pl.report.figures import FORGET, RETAIN
from unlearn_pl.report.overview import RUN_COLORS, Compared, plot_overview


def model(name, forget, retain, history=None):
    return Compared(name, {"forget": forget, "keep": retain}, forget, retain, history)


BEFORE, RETRAINED = model("before", 0.9, 0.91), model("retrained", 0.2, 0.81)
HISTORY = {FORGET: [(2, 0.6), (4, 0.3)], RETAIN: [(2, 0.7), (4, 0.75), (6, 0.8)]}


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    kept = []
    monkeypatch.setattr(overview, "save_figure", lambda figure, path: kept.append(figure))
    plot_overview(BEFORE, [model("sum", 0.25, 0.85, HISTORY), model("other", 0.1, 0.4)], RETRAINED, tmp_path / "a.png")
    return kept[0].axes


def test_ways_go_from_the_model_before_over_the_steps_to_the_end(drawn):
    ways = [line.get_xydata().tolist() for line in drawn[0].lines]
    assert ways[0] == [[0.91, 0.9], [0.7, 0.6], [0.75, 0.3], [0.85, 0.25]]
    assert ways[2] == [[0.91, 0.9], [0.4, 0.1]]


def test_bars_have_the_values_of_all_models_side_by_side(drawn):
    heights = [[bar.get_height() for bar in bars] for bars in drawn[1].containers]
    assert heights == [[0.9, 0.91], [0.25, 0.85], [0.1, 0.4], [0.2, 0.81]]
    middles = sorted(bar.get_x() + bar.get_width() / 2 for bars in drawn[1].containers for bar in bars)
    assert all(right - left > 0.15 for left, right in itertools.pairwise(middles))
    labels = [text.get_text() for text in drawn[1].texts]
    assert labels == [".90", ".91", ".25", ".85", ".10", ".40", ".20", ".81"]
    assert [text.get_text() for text in drawn[1].get_legend().get_texts()] == ["before", "sum", "other", "retrained"]


def test_more_runs_than_colors_raise(tmp_path):
    runs = [model(f"run {i}", 0.1, 0.9) for i in range(len(RUN_COLORS) + 1)]
    with pytest.raises(ValueError, match="one per color"):
        plot_overview(BEFORE, runs, RETRAINED, tmp_path / "a.png")


def test_the_figure_is_a_png(tmp_path):
    assert overview.save_figure is figures.save_figure
    plot_overview(BEFORE, [model("sum", 0.25, 0.85, HISTORY)], RETRAINED, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
