"""Files that are compressed with gzip, up to a size that fits the size of the file."""

import gzip
import io
from pathlib import Path

from unlearn_pl.data.io.unfolded_size import UnfoldedSize


class BoundedGzip(io.RawIOBase):
    """Reads a file that is compressed with gzip, and stops where it unfolds to far more than a text would.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._size = UnfoldedSize(path, "decompress it first (gunzip), and give the decompressed file")
        self._file = gzip.open(path, "rb")  # noqa: SIM115  (closed with this object)

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill ``buffer``, and return the number of bytes.

        Raises:
            ValueError: naming the file, if it holds more than the limit.
        """
        data = self._file.read1(len(buffer))
        self._size.add(len(data))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
