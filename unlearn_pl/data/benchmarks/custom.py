"""Forget and retain sets from a user's own files."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Unpack

from lightning.pytorch.utilities import rank_zero_warn
from transformers import PreTrainedTokenizerBase

from unlearn_pl.data.evaluation.evaluation_row import EvaluationRows, SplitSource
from unlearn_pl.data.io.bad_rows import OnBadRow, check_on_bad_row
from unlearn_pl.data.io.in_memory import kept
from unlearn_pl.data.io.recorded_rows import with_described
from unlearn_pl.data.module import UnlearningDataModule
from unlearn_pl.data.options import DataOptions
from unlearn_pl.data.overlap.hashes import duplicates_in, overlap_of
from unlearn_pl.data.streams.detect import detect_source
from unlearn_pl.data.streams.joined import Joined
from unlearn_pl.data.streams.pairs import PairSource
from unlearn_pl.data.streams.source import Source, StreamSource
from unlearn_pl.data.text.alternates import with_alternates
from unlearn_pl.data.text.encoder import Row
from unlearn_pl.data.text.refusals import with_refusals
from unlearn_pl.recording import arguments_of


class TextDataModule(UnlearningDataModule):
    """Your own forget and retain sets: questions with answers, conversations or plain texts, from files.

    A path is enough if the columns have their usual names: ``question`` and ``answer``, ``messages``, or ``text``.
    :class:`~unlearn_pl.data.QuestionAnswers`, :class:`~unlearn_pl.data.Chats` and
    :class:`~unlearn_pl.data.Documents` take other names, and further options::

        TextDataModule(forget="tickets/forget.csv", retain=Documents("books/", chunk_length=512))

    Training streams: ``forget``, ``retain``, ``normal`` (MOLLM's third stream), ``forget.alternate`` (other answers to
    the forget questions), ``train`` (the forget and the retain set, for the target model) and ``holdout``. Evaluation
    splits: ``forget``, ``retain`` and ``holdout``, the same examples, and ``eval_sets``. Of texts, the first chunk of
    each of the first ``max_eval_examples`` documents (100 by default) is scored.

    Duplicate rows, and rows that the forget and the retain set have in common, are counted in a warning. Two rows count
    as the same if they are equal, if they differ only in punctuation, case or white space, or if they are nearly equal:
    about 80 % or more of all pairs of neighboring words of the rows occur in both. (That share is estimated: between
    65 and 95 %, rows may or may not be counted.)

    In Python, rows in memory are accepted in the place of a path: a list, a dataset, a data frame, or columns.
    Checkpoints and results hold their number and a SHA-256, not the rows.

    Args:
        tokenizer: a tokenizer, or the name or path of one; by default that of the module's model.
        forget: the forget set; None for fine-tuning without it.
        retain: the retain set; None for methods that need none.
        normal: the rows of the stream ``normal``; None for no such stream.
        holdout: rows like those of the forget set that the model was never trained on, which PrivLeak and membership
            inference need; None for no such stream and split.
        alternates: other answers to the forget questions; None for refusals, of which every round draws a new one.
        eval_sets: further evaluation splits by name; ``forget``, ``retain`` and ``holdout`` replace the sets above.
        on_bad_row: for paths: ``error`` raises at a row that cannot be used, ``skip`` skips and counts such rows.
        warn_of_duplicates: whether to look for duplicates, and for rows of both sets.
        options: see :class:`~unlearn_pl.data.UnlearningDataModule`.

    Raises:
        ValueError: if there is neither set, or rows in memory have several splits; from ``setup``, if a file or a
            column is missing, or a row cannot be used.
    """

    def __init__(
        self,
        tokenizer: str | PreTrainedTokenizerBase | None = None,
        *,
        forget: str | Source | Path | None = None,
        retain: str | Source | Path | None = None,
        normal: str | Source | Path | None = None,
        holdout: str | Source | Path | None = None,
        alternates: str | PairSource | Path | None = None,
        eval_sets: Mapping[str, str | Source | Path] | None = None,
        on_bad_row: OnBadRow = "error",
        warn_of_duplicates: bool = True,
        **options: Unpack[DataOptions],
    ) -> None:
        super().__init__(tokenizer, **options)
        check_on_bad_row(on_bad_row)
        if forget is None and retain is None:
            raise ValueError("forget=None and retain=None leave nothing to train on; accepted are paths or sources.")
        self.forget = kept(forget)
        self.retain = kept(retain)
        self.normal = kept(normal)
        self.holdout = kept(holdout)
        self.alternates = kept(alternates)
        self.eval_sets = {name: kept(rows) for name, rows in (eval_sets or {}).items()}
        self.on_bad_row: OnBadRow = on_bad_row
        self.warn_of_duplicates = warn_of_duplicates

    def recorded_arguments(self) -> dict[str, object]:
        """The arguments, with a description of rows in memory in their place."""
        arguments = with_described(arguments_of(self), ("forget", "retain", "normal", "holdout", "alternates"))
        if arguments.get("eval_sets"):
            arguments["eval_sets"] = with_described(arguments["eval_sets"], arguments["eval_sets"])
        return arguments

    def load_streams(self) -> Mapping[str, StreamSource]:
        """The streams of the given sets."""
        given = {"forget": self.forget, "retain": self.retain, "normal": self.normal, "holdout": self.holdout}
        sources = {name: self._source(source) for name, source in given.items() if source is not None}
        streams: dict[str, StreamSource] = {**sources}
        forget = sources.get("forget")
        if isinstance(forget, PairSource):
            streams["forget.alternate"] = partial(self._alternate, forget)
        streams["train"] = Joined([sources[name] for name in ("retain", "forget") if name in sources])
        return streams

    def load_splits(self) -> Mapping[str, SplitSource]:
        """The forget, the retain and the holdout set, and ``eval_sets``."""
        given = {"forget": self.forget, "retain": self.retain, "holdout": self.holdout, **self.eval_sets}
        return {name: partial(self._split, source) for name, source in given.items() if source is not None}

    def setup(self, stage: str | None = None) -> None:
        """Loads and tokenizes what ``stage`` needs; warns of duplicates."""
        super().setup(stage)
        if stage in (None, "fit") and self.warn_of_duplicates:
            hashes = {name: self._training[name].hashes() for name in self.streams if name in ("forget", "retain")}
            found = [duplicates_in(of, name) for name, of in hashes.items()]
            if len(hashes) == 2:
                found.append(overlap_of(hashes["forget"], hashes["retain"]))
            for sentence in filter(None, found):
                rank_zero_warn(sentence)

    def _source(self, given: str | Source | Path) -> Source:
        return given if isinstance(given, Source) else detect_source(given, self.on_bad_row)

    def _split(self, given: str | Source | Path) -> EvaluationRows:
        return self._source(given).evaluation_rows(self._encoder, self.max_eval_examples)

    def _alternate(self, forget: PairSource) -> list[Row]:
        questions = forget.rows_that_fit(self._encoder)  # those of forget, so that both streams have the same order
        if self.alternates is None:
            return with_refusals(questions)
        alternates = self._source(self.alternates)
        if not isinstance(alternates, PairSource):
            raise ValueError(f"alternates={self.alternates!r} are not questions with answers but {alternates}.")
        return with_alternates(questions, alternates.rows(), str(alternates))
