"""Figures and tables from what runs have logged."""

from unlearn_pl.report.figures import plot_combination, plot_forgetting
from unlearn_pl.report.history import Series, read_history

__all__ = ["Series", "plot_combination", "plot_forgetting", "read_history"]
