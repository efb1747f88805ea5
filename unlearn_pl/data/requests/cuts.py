"""Parts of streams that are loaded once for all requests."""

from collections.abc import Callable, Iterable

from transformers import PreTrainedTokenizerBase

from unlearn_pl.data.evaluation.evaluation_row import EvaluationRow, Question
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
        self._evaluated: tuple[PreTrainedTokenizerBase, list[tuple[str, Question]]] | None = None

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

    def evaluated(
        self, rows: list[Row], tokenizer: PreTrainedTokenizerBase, load: Callable[[], list[EvaluationRow]]
    ) -> list[EvaluationRow]:
        """Questions of an evaluation split that are those of ``rows``, in the order of the split.

        Args:
            rows: of one of the cuts of the stream ``forget``, which was asked for before.
            tokenizer: another one loads the split again.
            load: loads the whole split.
        """
        if self._evaluated is None or self._evaluated[0] is not tokenizer:
            asked = {_key(row) for cut in self._kept["forget"][2].values() for row in cut}
            split = [(_key(row.row), row) for row in load() if isinstance(row, Question)]
            self._evaluated = tokenizer, [(key, row) for key, row in split if key in asked]
        mine = {_key(row) for row in rows}
        return [row for key, row in self._evaluated[1] if key in mine]


def _key(row: Row) -> str:
    """Of a question, which may be a conversation."""
    return repr(row["question"])
