"""Files that are compressed with gzip, up to a size that fits the size of the file."""

import gzip
import io
from pathlib import Path

FACTOR = 100
"""Bytes of text per compressed byte. Texts are compressed to a third or a tenth; gzip's limit is one in 1030."""
LEAST = 16 * 2**20
"""Bytes of text that any file may hold."""


class BoundedGzip(io.RawIOBase):
    """Reads a file that is compressed with gzip, and stops where it unfolds to far more than a text would.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._limit = max(LEAST, FACTOR * path.stat().st_size)
        self._read = 0
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
        self._read += len(data)
        if self._read > self._limit:
            raise ValueError(
                f"{self._path} unfolds to more than {self._limit // 2**20} MiB, over {FACTOR} times its size, which no "
                "ordinary text does. If you trust it, decompress it first (gunzip), and give the decompressed file."
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
