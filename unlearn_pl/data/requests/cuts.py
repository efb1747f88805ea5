"""Parts of streams that are loaded once for all requests."""

from collections.abc import Callable, Iterable

from transformers import PreTrainedTokenizerBase

from unlearn_pl.data.text.encoder import Row

Cut = tuple[int, int]
"""Number of the first row, and of the row after the last one."""


class Cuts:
    """Rows of the streams of a data module, of which only some cuts are kept.

    Loading a stream takes time in proportion to all of its rows; without this, every earlier request would load it
    once more.

    Args:
        cuts: those that will be asked for.
    """

    def __init__(self, cuts: Iterable[Cut]) -> None:
        self._cuts = set(cuts)
        self._kept: dict[str, tuple[PreTrainedTokenizerBase, int, dict[Cut, list[Row]]]] = {}

    def of(
        self, name: str, cut: Cut, tokenizer: PreTrainedTokenizerBase, load: Callable[[], list[Row]]
    ) -> tuple[list[Row], int]:
        """The rows of ``cut`` in the stream ``name``, and how many the stream has in all.

        Args:
            name: name of the stream.
            cut: one of the cuts.
            tokenizer: decides which rows are too long; another one loads the rows again.
            load: loads all rows.
        """
        if name not in self._kept or self._kept[name][0] is not tokenizer:
            rows = load()
            self._kept[name] = tokenizer, len(rows), {each: rows[slice(*each)] for each in self._cuts}
        _, total, kept = self._kept[name]
        return kept[cut], total
