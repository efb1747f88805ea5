"""Figures and tables from what runs have logged."""

from unlearn_pl.report.comparison import Comparison, Estimate, compare_results
from unlearn_pl.report.comparison_table import comparison_csv, comparison_json, comparison_markdown, comparison_text
from unlearn_pl.report.figures import plot_combination, plot_forgetting, plot_relearning
from unlearn_pl.report.history import Series, read_history

__all__ = [
    "Comparison",
    "Estimate",
    "Series",
    "compare_results",
    "comparison_csv",
    "comparison_json",
    "comparison_markdown",
    "comparison_text",
    "plot_combination",
    "plot_forgetting",
    "plot_relearning",
    "read_history",
]
