"""Rows in memory, in any container: lists, iterators, data frames, columns, or the splits of a dataset."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from itertools import chain
from typing import Any, TypeVar

T = TypeVar("T")


def kept(table: T) -> T:
    """``table`` in a form that can be read more than once: an iterator becomes a list, a single split the dataset.

    Args:
        table: a path, a source, or rows.

    Raises:
        ValueError: naming the splits, if there are several; if an iterator has no rows (left).
    """
    given: Any = table
    if hasattr(given, "read_all") and hasattr(given, "schema"):  # a stream of Arrow, which can be read once
        return given.read_all()
    if isinstance(given, Iterator):
        rows: Any = list(given)
        if not rows:
            raise ValueError(
                f"The given {type(given).__name__} has no rows. An iterator can be read only once; accepted is a list, "
                "list(rows), if the rows are needed elsewhere, too."
            )
        return rows
    if isinstance(given, Mapping) and given and all(map(_is_split, given.values())):
        if len(given) > 1:
            raise ValueError(
                f"The given {type(given).__name__} has the splits {sorted(map(str, given))}; accepted is one of them, "
                f"such as dataset[{next(iter(given))!r}]."
            )
        return next(iter(given.values()))
    return table


def rows_of(table: Iterable[Any] | Mapping[str, Any]) -> Iterable[Any]:
    """The rows of a container.

    Args:
        table: rows; a data frame (pandas, Polars) or a table of Arrow, or several of them; columns
            ``{"question": [...], ...}`` of the same length; or a dictionary with a single split.

    Raises:
        ValueError: naming the splits, if there are several; naming the columns, if two have the same name or their
            lengths differ.
    """
    given: Any = kept(table)
    if isinstance(given, Mapping):
        return _rows_of_columns(given)
    if hasattr(given, "iter_rows"):  # Polars
        return given.iter_rows(named=True)
    if hasattr(given, "to_pylist"):  # Arrow
        check_unique(getattr(given, "column_names", ()), "the given table")
        return given.to_pylist()
    if _is_frame(given):
        check_unique(list(given.columns), "the given data frame")
        return ({str(name): _plain(cell) for name, cell in row.items()} for row in given.to_dict("records"))
    if hasattr(given, "with_format"):  # a dataset, whose rows may be set to be tables or arrays
        return given.with_format(None)
    if isinstance(given, list | tuple) and given and all(map(_is_table, given)):
        return chain.from_iterable(map(rows_of, given))
    return given


def check_unique(columns: Sequence[object], source: str) -> None:
    """Checks that no two columns have the same name; several may have none, as empty columns of spreadsheets do.

    Raises:
        ValueError: naming the first such column.
    """
    for name in columns:
        if name != "" and columns.count(name) > 1:
            raise ValueError(
                f"{source} has {columns.count(name)} columns called {name!r}; accepted are columns of different names."
            )


def _rows_of_columns(columns: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    cells = {str(name): _plain(column) for name, column in columns.items()}
    lengths = {
        name: len(column) if isinstance(column, Sized) and not isinstance(column, str | bytes | Mapping) else None
        for name, column in cells.items()
    }
    if None in lengths.values() or len(set(lengths.values())) != 1:
        raise ValueError(
            f"The given {type(columns).__name__} with the keys {list(lengths)} holds no rows; accepted are a list of "
            "rows, and columns: a list for each key, all of the same length."
        )
    return (dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True))


def _is_split(value: object) -> bool:
    """Whether ``value`` holds rows, and not the cells of a column."""
    if _is_frame(value) or hasattr(value, "column_names"):
        return True
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], Mapping)


def _is_table(value: object) -> bool:
    return _is_frame(value) or (hasattr(value, "to_pylist") and hasattr(value, "column_names"))


def _is_frame(value: object) -> bool:
    return hasattr(value, "columns") and hasattr(value, "to_dict")


def plain(value: Any) -> Any:
    """A value whose arrays and numbers of NumPy, and tuples, are lists and numbers; itself if it has none."""
    if isinstance(value, str | int | float | None):
        return value if type(value) in (str, int, float, bool, type(None)) else _of_python(value)
    if isinstance(value, Mapping):
        values = {key: plain(item) for key, item in value.items()}
        return value if all(values[key] is item for key, item in value.items()) else values
    if isinstance(value, list | tuple):
        items = [plain(item) for item in value]
        same = isinstance(value, list) and all(new is old for new, old in zip(items, value, strict=True))
        return value if same else items
    return plain(value.tolist()) if hasattr(value, "tolist") else value


def _of_python(value: Any) -> Any:
    """A number or text of a class of its own, such as ``numpy.str_``."""
    return value.tolist() if hasattr(value, "tolist") else value


def _plain(value: Any) -> Any:
    """A column or cell of Arrow, NumPy or pandas as a list."""
    if hasattr(value, "to_pylist"):
        return value.to_pylist()
    return value.tolist() if hasattr(value, "tolist") and hasattr(value, "__len__") else value
