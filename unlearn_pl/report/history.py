"""Metrics that a run logged to its ``metrics.csv``."""

import csv
from pathlib import Path

Series = list[tuple[int, float]]
"""``(optimizer step, value)`` pairs in the order of the steps."""


def read_history(path: str | Path) -> dict[str, Series]:
    """Logged key to its values over the optimizer steps.

    Args:
        path: a ``metrics.csv`` of Lightning's CSVLogger.

    Raises:
        ValueError: if there is no such file, or it is not such a table.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} does not exist; expected the metrics.csv of a CSVLogger.")
    history: dict[str, Series] = {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file, strict=True)
        try:
            for row in rows:
                for key, value in row.items():
                    if value and key not in ("step", "epoch"):
                        history.setdefault(key, []).append((int(row["step"]), float(value)))
        except (csv.Error, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"Line {rows.line_num} of {path} cannot be read ({error!r}); accepted is a metrics.csv of CSVLogger: a "
                "column 'step', and a number or nothing in every other column."
            ) from error
    return {key: sorted(series) for key, series in history.items()}
