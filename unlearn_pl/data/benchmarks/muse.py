"""The MUSE benchmark: unlearning of news articles, or of the books of one series."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Unpack

from transformers import PreTrainedTokenizerBase

from unlearn_pl.data.benchmarks.muse_files import (
    PRIVLEAK,
    REPOSITORIES,
    Corpus,
    MUSETexts,
    check_corpus,
    check_names,
    locate,
)
from unlearn_pl.data.evaluation.completion import Completion
from unlearn_pl.data.evaluation.evaluation_row import SplitSource
from unlearn_pl.data.evaluation.passage import Passage
from unlearn_pl.data.io.record import Record, text_of
from unlearn_pl.data.io.rows import read_records
from unlearn_pl.data.module import UnlearningDataModule, check_positive
from unlearn_pl.data.options import DataOptions
from unlearn_pl.data.streams.documents import Documents
from unlearn_pl.data.streams.joined import Joined
from unlearn_pl.data.streams.source import Source, StreamSource
from unlearn_pl.functional import Compat
from unlearn_pl.functional.evaluation.compat import follows_openunlearning


class MUSEDataModule(UnlearningDataModule):
    """MUSE from the Hugging Face hub (``muse-bench/MUSE-News`` and ``-Books``), or from a folder with its files.

    Training streams are texts, cut into chunks: ``forget``, ``retain``, ``train`` (what a model is fine-tuned on) and
    ``holdout`` (texts like those of the forget set that no model is trained on).
    They are named as the benchmark names its data, ``<configuration>/<split>``: of the News, the forget sets of the
    scalability test are ``scal/forget_1`` to ``scal/forget_4`` (each contains the one before), the requests of the
    sustainability test ``sust/forget_1`` to ``sust/forget_4`` (disjoint, except for 62 texts that the first two share).
    Blank texts are skipped and counted in the log.

    Evaluation splits: ``verbmem_forget`` (the beginnings of forget texts, to be continued), ``knowmem_forget`` and
    ``knowmem_retain`` (questions after ten answered ones), and ``privleak_forget``, ``privleak_retain`` and
    ``privleak_holdout`` (texts, of which the first ``chunk_length`` tokens are scored).

    Prompts are tokenized without a template. A continuation that does not begin with white space is joined by a space.
    No end-of-sequence token is added to texts and answers, as in the authors' code.

    By default, prompts do not end with a space: ``"Answer:"`` is followed by the answer, whose first token holds the
    space, as in every text that a model has read; after a space of its own, a model continues badly. The authors and
    OpenUnlearning leave the space in the prompt, ``"Answer: "``. KnowMem can differ greatly, so for a comparison with
    published numbers, set ``compat``.

    Args:
        tokenizer: a tokenizer, or the name or path of one; by default that of the module's model.
        corpus: ``news`` or ``books``.
        path: folder with a folder per configuration and a file per split, such as ``raw/forget.json``: a JSON list,
            JSON Lines, Parquet or one text, the text formats also with ``.gz``. The names of the authors' older
            repository are also found. None for the hub.
        forget: name of the text of the stream ``forget``, or any :class:`~unlearn_pl.data.Source`.
        retain: the same for the stream ``retain``; the evaluation asks about ``raw/retain2``.
        holdout: the same for the stream ``holdout``.
        train: the same for the stream ``train``, several in their order. The default is for the target model; without
            ``train/forget`` it is for the retain model (our reading of the data).
        chunk_length: most tokens of an example.
        shots: answered questions before each knowledge question, at most ten.
        compat: ``openunlearning`` for prompts that keep the space at their end, as in the authors' code and in
            OpenUnlearning; None for prompts without it.
        options: see :class:`~unlearn_pl.data.UnlearningDataModule`.

    Raises:
        ValueError: if a corpus or a name is unknown, or a number out of its range; from ``setup``, if a file or a
            column is missing.

    References:
        Shi et al., "MUSE: Machine Unlearning Six-Way Evaluation for Language Models", arXiv 2407.06460.
    """

    def __init__(
        self,
        tokenizer: str | PreTrainedTokenizerBase | None = None,
        corpus: Corpus = "news",
        *,
        path: str | None = None,
        forget: str | Source = "raw/forget",
        retain: str | Source = "raw/retain1",
        holdout: str | Source = "raw/holdout",
        train: Sequence[str | Source] = ("train/forget", "train/retain1", "train/retain2"),
        chunk_length: int = 2048,
        shots: int = 10,
        compat: Compat = None,
        **options: Unpack[DataOptions],
    ) -> None:
        super().__init__(tokenizer, **options)
        check_corpus(corpus)
        self._keep_spaces = follows_openunlearning(compat)
        given = (("forget", [forget]), ("retain", [retain]), ("holdout", [holdout]), ("train", train))
        for argument, names in given:
            check_names(argument, names, corpus)
        check_positive(least=2, chunk_length=chunk_length)  # the first token is not scored
        if not 0 <= shots <= 10:
            raise ValueError(f"shots={shots}; accepted are 0 to 10, the number of answered questions of the benchmark.")
        self.corpus = corpus
        self.path = path
        self.forget = forget
        self.retain = retain
        self.holdout = holdout
        self.train = list(train)
        self.chunk_length = chunk_length
        self.shots = shots
        self.compat = compat

    def hub_datasets(self) -> Sequence[str]:
        """MUSE of the corpus, unless the files are in a folder."""
        return () if self.path is not None else (REPOSITORIES[self.corpus],)

    def load_streams(self) -> Mapping[str, StreamSource]:
        """The training streams, each read on demand."""
        return {
            "forget": self._source(self.forget),
            "retain": self._source(self.retain),
            "train": Joined([self._source(given) for given in self.train]),
            "holdout": self._source(self.holdout),
        }

    def load_splits(self) -> Mapping[str, SplitSource]:
        """The six evaluation splits, each read on demand."""
        return {
            "verbmem_forget": self._continuations,
            "knowmem_forget": partial(self._questions, "knowmem/forget_qa"),
            "knowmem_retain": partial(self._questions, "knowmem/retain_qa"),
            **{f"privleak_{split}": partial(self._passages, f"privleak/{split}") for split in PRIVLEAK},
        }

    def _source(self, given: str | Source) -> Source:
        if isinstance(given, Source):
            return given
        return Documents(MUSETexts(self.corpus, self.path, [given]), chunk_length=self.chunk_length)

    def _continuations(self) -> list[Completion]:
        def parse(row: Record) -> Completion:
            return Completion.joined(text_of(row, "prompt"), text_of(row, "gt"), self._keep_spaces)

        return read_records(locate(self.corpus, self.path, "verbmem/forget"), parse, "verbmem/forget")

    def _questions(self, name: str) -> list[Completion]:
        answered = [] if not self.shots else self._pairs(f"{name}_icl")[: self.shots]
        shots = "".join(f"Question: {question}\nAnswer: {answer}\n\n" for question, answer in answered)
        asked = [(f"{shots}Question: {question}\nAnswer:", answer) for question, answer in self._pairs(name)]
        if self._keep_spaces:
            return [Completion(f"{prompt} ", answer, keep_spaces=True) for prompt, answer in asked]
        return [Completion(prompt, f" {answer}") for prompt, answer in asked]

    def _pairs(self, name: str) -> list[tuple[str, str]]:
        source = locate(self.corpus, self.path, name)
        return read_records(source, lambda row: (text_of(row, "question"), text_of(row, "answer")), name)

    def _passages(self, name: str) -> list[Passage]:
        return [Passage(text, self.chunk_length, whole=False) for text in MUSETexts(self.corpus, self.path, [name])]
