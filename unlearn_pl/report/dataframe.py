"""Results as tables of pandas."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from unlearn_pl.results import Results

if TYPE_CHECKING:
    import pandas

COLUMNS = ("run", "benchmark", "split", "index", "score", "value")


def results_to_dataframe(runs: Mapping[str, Results]) -> "pandas.DataFrame":
    """Every score of every example of ``runs`` as a table, a row per run, split, example and score.

    Args:
        runs: name to results, of one benchmark or of several.

    Returns:
        Columns ``run``, ``benchmark``, ``split``, ``index`` (of the example in its split), ``score`` and ``value``.

    Example:
        >>> frame = results_to_dataframe({})
        >>> list(frame.columns)
        ['run', 'benchmark', 'split', 'index', 'score', 'value']
    """
    import pandas

    rows = [
        (name, results.benchmark, split, index, score, value)
        for name, results in runs.items()
        for split, table in results.per_example.items()
        for score, values in table.items()
        for index, value in values.items()
    ]
    return pandas.DataFrame(rows, columns=list(COLUMNS))
