"""A tokenizer trained on the texts of files, for models that are trained from scratch."""

from collections.abc import Iterator, Mapping, Sequence

from transformers import PreTrainedTokenizerFast

from unlearn_pl.data.io.rows import iterate_records
from unlearn_pl.models import train_tokenizer


def train_tokenizer_on(paths: Sequence[str], vocab_size: int = 1024) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on every text in ``paths``, for tiny models that are configured in YAML.

    Args:
        paths: files and folders in any format that a stream accepts.
        vocab_size: largest number of tokens, the 256 bytes and the special tokens included.

    Returns:
        A tokenizer; see :func:`~unlearn_pl.models.train_tokenizer`.

    Raises:
        ValueError: if a file is missing or cannot be read.
    """
    rows = (row for path in paths for row in iterate_records(path, dict, path))
    return train_tokenizer((text for row in rows for text in _texts(row)), vocab_size)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
