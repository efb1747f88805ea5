"""The WMDP benchmark: unlearning of hazardous knowledge, tested by multiple-choice questions."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, Unpack, get_args

from transformers import PreTrainedTokenizerBase

from unlearn_pl.data.benchmarks.wikitext import wikitext_articles
from unlearn_pl.data.evaluation.cloze_choice import ClozeChoice
from unlearn_pl.data.evaluation.evaluation_row import SplitSource
from unlearn_pl.data.evaluation.multiple_choice import MultipleChoice
from unlearn_pl.data.evaluation.multiple_choice_files import read_questions
from unlearn_pl.data.evaluation.passage import Passage
from unlearn_pl.data.io.find_file import find_file
from unlearn_pl.data.io.hub_dataset import HubDataset
from unlearn_pl.data.module import UnlearningDataModule, check_positive
from unlearn_pl.data.options import DataOptions
from unlearn_pl.data.streams.documents import Documents
from unlearn_pl.data.streams.joined import Joined
from unlearn_pl.data.streams.missing_source import MissingSource
from unlearn_pl.data.streams.source import Source, StreamSource

Domain = Literal["bio", "chem", "cyber"]
CorpusSource = str | HubDataset | Source
Questions = str | HubDataset | Sequence[str | HubDataset]
"""A file, a dataset of the hub, or several that follow one another."""
SUBJECTS = {"bio": "biology", "chem": "chemistry", "cyber": "cybersecurity"}
ON_THE_HUB = ("bio-retain-corpus", "cyber-forget-corpus", "cyber-retain-corpus")
GATED = "bio_remove_dataset"
"""Original name of the forget corpus of biology, which its authors hand out only on request."""


class WMDPDataModule(UnlearningDataModule):
    """WMDP from the Hugging Face hub (``cais/wmdp``, ``cais/wmdp-corpora``), or from a folder with its files.

    Training streams: ``forget`` and ``retain``, texts of the domain, cut into chunks, and ``train``, both of them, for
    the target model. Evaluation splits: ``wmdp_bio``, ``wmdp_chem`` and ``wmdp_cyber`` (by default that of the domain),
    ``mmlu`` (by default, if there is one), ``wikitext`` (articles of WikiText-2, of which every token is scored) and
    those of ``questions``. Questions are laid out and scored as in lm-eval, see
    :class:`~unlearn_pl.data.MultipleChoice`.

    Args:
        tokenizer: a tokenizer, or the name or path of one; by default that of the module's model.
        domain: ``bio``, ``chem`` or ``cyber``.
        path: folder with ``wmdp-<domain>_test``, ``<domain>-forget-corpus`` (or ``bio_remove_dataset``) and
            ``<domain>-retain-corpus``: JSON Lines, Parquet, or plain text with a document a line; None for the hub.
        forget: another forget corpus than that of the folder or the hub: a file whose column ``text`` is read, a
            dataset of the hub, or any :class:`~unlearn_pl.data.Source`, such as :class:`~unlearn_pl.data.Documents`
            with further options. The authors hand out that of ``bio`` on request, so it is never on the hub.
        retain: the same for the retain corpus. The authors of RMU retain WikiText.
        mmlu: file with MMLU's test questions; None for the hub (``cais/mmlu``), unless there is a ``path``.
        wikitext: file with the lines of WikiText-2's test articles; None for the hub, unless there is a ``path``.
        questions: further splits of multiple-choice questions: name to a file or a dataset of the hub, or a list of
            them, such as the robust, categorized and deduplicated selections of WMDP's questions
            (``experiments/data/wmdp_bio_robust.yaml``). Names that begin with ``wmdp_`` are of what is to be forgotten.
        cloze: the same for questions whose options are scored as texts, see :class:`~unlearn_pl.data.ClozeChoice`: what
            is measured is no skill at choosing letters.
        chunk_length: most tokens of an example.
        max_chunks: chunks of a document that are trained on, from its beginning; None for all. The authors of RMU
            train on the first one.
        options: see :class:`~unlearn_pl.data.UnlearningDataModule`.

    Raises:
        ValueError: if the domain is unknown, a number not positive or a name taken twice; from ``setup``, if a corpus,
            a file or a column is missing.

    References:
        Li et al., "The WMDP Benchmark: Measuring and Reducing Malicious Use With Unlearning", arXiv 2403.03218.
        O'Brien et al., "Deep Ignorance", arXiv 2508.06601 (robust and cloze questions).
    """

    def __init__(
        self,
        tokenizer: str | PreTrainedTokenizerBase | None = None,
        domain: Domain = "bio",
        *,
        path: str | None = None,
        forget: CorpusSource | None = None,
        retain: CorpusSource | None = None,
        mmlu: str | None = None,
        wikitext: str | None = None,
        questions: Mapping[str, Questions] | None = None,
        cloze: Mapping[str, Questions] | None = None,
        chunk_length: int = 512,
        max_chunks: int | None = None,
        **options: Unpack[DataOptions],
    ) -> None:
        super().__init__(tokenizer, **options)
        if domain not in get_args(Domain):
            raise ValueError(f"domain={domain!r} is unknown; accepted are {', '.join(get_args(Domain))}.")
        check_positive(least=2, chunk_length=chunk_length)  # the first token is not scored
        check_positive(max_chunks=max_chunks)
        self.domain = domain
        self.path = path
        self.forget = forget
        self.retain = retain
        self.mmlu = mmlu
        self.wikitext = wikitext
        self.questions = dict(questions or {})
        self.cloze = dict(cloze or {})
        if twice := sorted(self.questions.keys() & self.cloze.keys()):
            raise ValueError(f"questions and cloze both have splits named {twice}; accepted are different names.")
        self.chunk_length = chunk_length
        self.max_chunks = max_chunks
        if self.splits is None:
            available = self.load_splits()
            self.splits = [
                name for name in (f"wmdp_{domain}", "mmlu", *self.questions, *self.cloze) if name in available
            ]

    def hub_datasets(self) -> Sequence[str]:
        """``cais/wmdp-corpora`` and ``cais/wmdp``, unless the files are in a folder."""
        return () if self.path is not None else ("cais/wmdp-corpora", "cais/wmdp")

    def load_streams(self) -> Mapping[str, StreamSource]:
        """The three training streams, each read on demand."""
        forget = self._corpus(self.forget, "forget", [GATED] if self.domain == "bio" else [])
        retain = self._corpus(self.retain, "retain", [])
        return {"forget": forget, "retain": retain, "train": Joined([retain, forget])}

    def load_splits(self) -> Mapping[str, SplitSource]:
        """The evaluation splits that have files, each read on demand."""
        splits: dict[str, SplitSource] = {f"wmdp_{domain}": partial(self._asked, domain) for domain in SUBJECTS}
        splits |= {name: partial(_read, tables) for name, tables in self.questions.items()}
        splits |= {name: partial(self._without_letters, tables) for name, tables in self.cloze.items()}
        if self.mmlu is not None or self.path is None:
            splits["mmlu"] = partial(read_questions, self.mmlu or HubDataset("cais/mmlu", "all", "test"))
        if self.wikitext is not None or self.path is None:
            splits["wikitext"] = self._articles
        return splits

    def _corpus(self, given: CorpusSource | None, role: str, other_names: list[str]) -> Source:
        if isinstance(given, Source):
            return given
        name = f"{self.domain}-{role}-corpus"
        if given is None and self.path is None and name not in ON_THE_HUB:
            return MissingSource(
                f"There is no {name} on the hub: that of bio is handed out by the authors of WMDP on request "
                f"(https://www.wmdp.ai), and chem has none. Give a file or folder as {role}=..., or as path=... the "
                f"folder with {' or '.join([name, *other_names])}.jsonl."
            )
        try:
            table = given or self._located([name, *other_names], "cais/wmdp-corpora", name, "train")
        except ValueError as error:
            return MissingSource(f"{error} Or give another file or folder as {role}=....")
        return Documents(table, chunk_length=self.chunk_length, max_chunks=self.max_chunks, on_bad_row="skip")

    def _asked(self, domain: str) -> list[MultipleChoice]:
        name = f"wmdp-{domain}"
        table = self._located([f"{name}_test", f"{name}/test"], "cais/wmdp", name, "test")
        return read_questions(table, SUBJECTS[domain])

    def _without_letters(self, tables: Questions) -> list[ClozeChoice]:
        return [ClozeChoice.of(question) for question in _read(tables, SUBJECTS[self.domain])]

    def _articles(self) -> list[Passage]:
        table = self.wikitext or HubDataset("Salesforce/wikitext", "wikitext-2-raw-v1", "test")
        return [Passage(article, self.chunk_length) for article in wikitext_articles(table)]

    def _located(self, names: list[str], repository: str, config: str, split: str) -> str | HubDataset:
        return HubDataset(repository, config, split) if self.path is None else find_file(self.path, names)


def _read(tables: Questions, subject: str = "") -> list[MultipleChoice]:
    given = [tables] if isinstance(tables, str | HubDataset) else tables
    return [question for table in given for question in read_questions(table, subject)]
