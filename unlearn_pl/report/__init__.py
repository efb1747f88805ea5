"""Comparisons, figures and reports of runs, from their logs and results."""

from unlearn_pl.report.comparison import Comparison, Estimate, check_same_evaluation, compare_results
from unlearn_pl.report.comparison_table import comparison_csv, comparison_json, comparison_markdown, comparison_text
from unlearn_pl.report.dataframe import results_to_dataframe
from unlearn_pl.report.evaluation_class import FoundClass, evaluation_class
from unlearn_pl.report.figures import plot_combination, plot_forgetting, plot_front, plot_relearning
from unlearn_pl.report.front import Front, Mean, mean_over_seeds, pareto_front
from unlearn_pl.report.history import Series, read_history
from unlearn_pl.report.page.make import read_page, report_data, write_page
from unlearn_pl.report.page.page import render

__all__ = [
    "Comparison",
    "Estimate",
    "FoundClass",
    "Front",
    "Mean",
    "Series",
    "check_same_evaluation",
    "compare_results",
    "comparison_csv",
    "comparison_json",
    "comparison_markdown",
    "comparison_text",
    "evaluation_class",
    "mean_over_seeds",
    "pareto_front",
    "plot_combination",
    "plot_forgetting",
    "plot_front",
    "plot_relearning",
    "read_history",
    "read_page",
    "render",
    "report_data",
    "results_to_dataframe",
    "write_page",
]
