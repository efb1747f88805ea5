"""A tokenizer for models that are trained from scratch on a few files."""

from collections.abc import Iterator, Mapping, Sequence

from transformers import PreTrainedTokenizerFast

from unlearn_pl.data.io.bad_rows import usable
from unlearn_pl.data.io.tables import read_entries
from unlearn_pl.models import train_tokenizer


def train_tokenizer_on(paths: Sequence[str], vocab_size: int = 1024) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on every text in ``paths``, for tiny models that are made in YAML.

    Args:
        paths: files and folders of any kind that a stream may come from.
        vocab_size: largest number of tokens, the 256 bytes and the special tokens included.

    Returns:
        A tokenizer as :func:`~unlearn_pl.models.train_tokenizer` makes it.

    Raises:
        ValueError: if a file is missing or cannot be read.
    """
    rows = (row for path in paths for row in usable(read_entries(path), dict, "error", path))
    return train_tokenizer((text for row in rows for text in _texts(row)), vocab_size)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
