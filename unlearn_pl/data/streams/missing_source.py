"""Placeholder for a stream whose data is missing; raises when it is used."""

from typing import NoReturn

from unlearn_pl.data.streams.source import Source
from unlearn_pl.data.text.encoder import Encoder


class MissingSource(Source):
    """Raises when its stream is used, so that other streams and evaluations work without it.

    Args:
        message: text of the error: what is missing, and what to do about it.
    """

    def __init__(self, message: str) -> None:
        self.message = message

    def evaluation_rows(self, encoder: Encoder, limit: int | None) -> NoReturn:
        """Raise the error.

        Raises:
            ValueError: always.
        """
        raise ValueError(self.message)

    def prepare(self, name: str, encoder: Encoder) -> NoReturn:
        """Raise the error.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"stream {name!r}: {self.message}")

    def dataset(self, name: str, encoder: Encoder, seed: int = 0) -> NoReturn:
        """Raise the error.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"stream {name!r}: {self.message}")
