"""A stream whose data is not there."""

from typing import NoReturn

from unlearn_pl.data.streams.source import Source
from unlearn_pl.data.text.encoder import Encoder


class MissingSource(Source):
    """Says what is missing when its stream is asked for, so that other streams and evaluations go without it.

    Args:
        message: what is missing, and what to do about it.
    """

    def __init__(self, message: str) -> None:
        self.message = message

    def evaluation_rows(self, encoder: Encoder, limit: int | None) -> NoReturn:
        """Refuse.

        Raises:
            ValueError: always.
        """
        raise ValueError(self.message)

    def prepare(self, name: str, encoder: Encoder) -> NoReturn:
        """Refuse.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"stream {name!r}: {self.message}")

    def dataset(self, name: str, encoder: Encoder, seed: int = 0) -> NoReturn:
        """Refuse.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"stream {name!r}: {self.message}")
