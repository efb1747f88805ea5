"""How far files may unfold when they are read: a few kilobytes can stand for gigabytes."""

from pathlib import Path

FACTOR = 100
"""Bytes of content per byte of the file. Texts are compressed to a third or a tenth; gzip's limit is one in 1030."""
LEAST = 16 * 2**20
"""Bytes of content that any file may hold."""


class UnfoldedSize:
    """The bytes that were read from one file, and how many it may hold: a hundred times its size, or 16 MiB.

    Args:
        path: the file.
        advice: what to do with a file that is trusted; the end of the message.
    """

    def __init__(self, path: Path, advice: str) -> None:
        self.limit = max(LEAST, FACTOR * path.stat().st_size)
        self._path = path
        self._advice = advice
        self._read = 0

    def add(self, size: int) -> None:
        """Count ``size`` more bytes.

        Raises:
            ValueError: naming the file, if that is more than the limit.
        """
        self._read += size
        if self._read > self.limit:
            raise ValueError(
                f"{self._path} unfolds to more than {self.limit // 2**20} MiB, over {FACTOR} times its size, which no "
                f"ordinary text does. If you trust it, {self._advice}."
            )
