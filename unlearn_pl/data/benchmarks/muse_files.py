"""Location of MUSE's data: the hub, or a folder that is laid out like the authors' repository."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Literal, get_args

from unlearn_pl.data.io.bad_rows import usable
from unlearn_pl.data.io.entries import read_entries
from unlearn_pl.data.io.find_file import find_file
from unlearn_pl.data.io.hub_dataset import HubDataset
from unlearn_pl.data.io.record import text_of
from unlearn_pl.data.streams.source import Source

Corpus = Literal["news", "books"]
REPOSITORIES = {"news": "muse-bench/MUSE-News", "books": "muse-bench/MUSE-Books"}
PRIVLEAK = ("forget", "retain", "holdout")

_RAW = ("forget", "retain1", "retain2", "holdout")
_FOLDS = ("forget_1", "forget_2", "forget_3", "forget_4")
_TEXTS = {"raw": _RAW, "train": _RAW[:3], "privleak": PRIVLEAK, "scal": _FOLDS, "sust": _FOLDS}
_ONLY_NEWS = ("scal", "sust")
_OLDER = {
    "knowmem/retain_qa": "knowmem/retain2_qa",
    "knowmem/retain_qa_icl": "knowmem/retain2_qa_icl",
    "privleak/retain": "privleak/retain2",
    # The first fold and the first request are the forget set.
    "scal/forget_1": "raw/forget",
    "sust/forget_1": "raw/forget",
    **{f"raw/{split}": f"main/{split}" for split in _RAW},
}
"""Second name of a file: its older name in the authors' repository, or that of a copy."""


@dataclass(frozen=True)
class MUSETexts:
    """Texts of MUSE, read once and on demand; blank ones are skipped and counted in the log.

    Args:
        corpus: ``news`` or ``books``.
        path: folder with the files; None for the hub.
        names: names of the texts, in their order: ``<configuration>/<split>``.
    """

    corpus: Corpus
    path: str | None
    names: Sequence[str]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    @cached_property
    def _texts(self) -> list[str]:
        return list(chain.from_iterable(map(self._read, self.names)))

    def _read(self, name: str) -> Iterator[str]:
        entries = read_entries(locate(self.corpus, self.path, name), one_per_line=False)
        return usable(entries, lambda row: text_of(row, "text"), "skip", f"MUSE's {name}")


def locate(corpus: Corpus, path: str | None, name: str) -> str | HubDataset:
    """The file, or the dataset of the hub, that holds the split ``name``.

    Args:
        corpus: ``news`` or ``books``.
        path: folder with the files; None for the hub.
        name: ``<configuration>/<split>``.

    Raises:
        ValueError: if the folder has no such file.
    """
    if path is None:
        return HubDataset(REPOSITORIES[corpus], *name.split("/"))
    return find_file(path, [name, _OLDER[name]] if name in _OLDER else [name])


def check_corpus(corpus: str) -> None:
    """Checks the argument of this name.

    Raises:
        ValueError: naming what is accepted.
    """
    if corpus not in get_args(Corpus):
        raise ValueError(f"corpus={corpus!r} is unknown; accepted are {', '.join(get_args(Corpus))}.")


def check_names(argument: str, names: Sequence[str | Source], corpus: Corpus) -> None:
    """Checks that ``names`` are texts of ``corpus``; sources are not checked.

    Raises:
        ValueError: naming the argument, and the names that are accepted.
    """
    kinds = {kind: splits for kind, splits in _TEXTS.items() if corpus == "news" or kind not in _ONLY_NEWS}
    accepted = [f"{kind}/{split}" for kind, splits in kinds.items() for split in splits]
    unknown = [name for name in names if isinstance(name, str) and name not in accepted]
    if unknown or not names:
        raise ValueError(
            f"{argument}={unknown or list(names)} is not among the texts of MUSE's {corpus}; "
            f"accepted are {', '.join(accepted)}."
        )
