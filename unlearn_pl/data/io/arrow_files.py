"""Files that Arrow reads, checked and bounded: Arrow trusts what they say of their offsets and sizes."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unlearn_pl.data.io.in_memory import check_unique
from unlearn_pl.data.io.record import Record
from unlearn_pl.data.io.unfolded_size import UnfoldedSize

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet

_ADVICE = "read it in Python, and write its rows as JSON Lines"
_BATCH_BYTES = 256 * 2**20
_BATCH_ROWS = (16, 256)
"""The fewest and the most rows that are decoded at once."""


def check_arrow_stream(file: Path) -> None:
    """Check that every value of a file in Arrow's streaming format lies inside the file.

    Arrow takes offsets and lengths from the file as they are. A wrong one makes it read memory that is not its own,
    which no ``except`` catches: the process dies with SIGSEGV or SIGBUS. Here every batch is validated, one after the
    other, which reads the file once, at some gigabytes per second.

    Args:
        file: path of the file.

    Raises:
        ValueError: naming the file, if it was cut off or changed, so that its rows cannot be read safely; or if it is
            compressed and unfolds to far more than its size.
        OSError: if it cannot be opened.
    """
    import pyarrow as pa

    size = UnfoldedSize(file, _ADVICE)
    with pa.memory_map(str(file)) as source:
        try:
            with pa.ipc.open_stream(source) as batches:
                for batch in batches:
                    batch.validate(full=True)
                    size.add(sum(map(content_size, batch.columns)))
        except (pa.ArrowException, OSError) as error:  # OSError: batches that end before their length
            raise ValueError(
                f"{file} was cut off or changed, or is not in Arrow's streaming format "
                f"({type(error).__name__}: {error})."
            ) from error


def parquet_rows(path: Path) -> Iterator[Record]:
    """The rows of a Parquet file, up to a size that fits the size of the file.

    A repeated value is in the file once, however long it is. So the sizes in the file's metadata are checked first,
    and then those of the rows as they are decoded, few at a time.

    Args:
        path: the file.

    Raises:
        ValueError: naming the file, if it unfolds to far more than a text would, or has two columns of one name.
    """
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        check_unique(file.schema_arrow.names, str(path))
        chunks = _chunk_sizes(file.metadata)
        UnfoldedSize(path, _ADVICE).add(sum(chunks))
        size = UnfoldedSize(path, _ADVICE)
        # No value is longer than its column, and a batch may repeat it in every row.
        rows = _BATCH_BYTES // max([1, *chunks])
        for batch in file.iter_batches(batch_size=min(max(rows, _BATCH_ROWS[0]), _BATCH_ROWS[1])):
            size.add(sum(map(content_size, batch.columns)))
            yield from batch.to_pylist()


def _chunk_sizes(metadata: "pyarrow.parquet.FileMetaData") -> list[int]:
    """Bytes of every part of a column when it is decompressed, though not decoded."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    return [group.column(at).total_uncompressed_size for group in groups for at in range(group.num_columns)]


def content_size(column: "pa.Array") -> int:
    """The bytes of the values of a column, each counted as often as it occurs, although it may be stored once.

    Args:
        column: the values, with valid offsets.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        texts = (pa.types.is_string, pa.types.is_binary, pa.types.is_large_string, pa.types.is_large_binary)
        if not any(is_text(kind.value_type) for is_text in texts):
            return len(column) * max(1, column.dictionary.nbytes // max(1, len(column.dictionary)))
        lengths = pc.binary_length(column.dictionary).take(column.indices)
        return column.indices.nbytes + (pc.sum(lengths).as_py() or 0)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        views = np.frombuffer(column.buffers()[1] or b"", np.int32).reshape(-1, 4)  # a length, and 12 bytes
        return int(views[column.offset : column.offset + len(column), 0].sum(dtype=np.int64)) + 16 * len(column)
    if pa.types.is_struct(kind):
        return sum(map(content_size, column.flatten()))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return content_size(column.flatten()) + 4 * len(column)
    return int(column.nbytes)
