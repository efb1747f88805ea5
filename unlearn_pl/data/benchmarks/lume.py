"""LUME, the benchmark of SemEval-2025 task 4: stories, made-up biographies and real ones."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Literal, NamedTuple, Unpack, get_args

from transformers import PreTrainedTokenizerBase

from unlearn_pl.data.evaluation.completion import Completion
from unlearn_pl.data.evaluation.evaluation_row import SplitSource
from unlearn_pl.data.evaluation.multiple_choice_files import read_questions
from unlearn_pl.data.evaluation.passage import Passage
from unlearn_pl.data.io.find_file import find_file
from unlearn_pl.data.io.hub_dataset import HubDataset
from unlearn_pl.data.io.record import BadRowError, Record, text_of
from unlearn_pl.data.io.rows import read_records
from unlearn_pl.data.module import UnlearningDataModule
from unlearn_pl.data.options import DataOptions
from unlearn_pl.data.streams.joined import Joined
from unlearn_pl.data.streams.right_answers import RightAnswers
from unlearn_pl.data.streams.source import StreamSource

Fold = Literal["train", "validation"]
ROLES, TASKS, KINDS = ("forget", "retain"), (1, 2, 3), {"sc": "completion", "qa": "qa"}
_KIND = re.compile(r"(sc|qa)\d*$")
_HUB = "llmunlearningsemeval2025organization/semeval25-unlearning-dataset-public"


class LUMEDataModule(UnlearningDataModule):
    """LUME's questions and sentences to complete, of three tasks: stories, made-up persons, real persons.

    Training streams: ``forget`` and ``retain``, inputs with their outputs, used verbatim, and ``train``, both of them,
    for the target model. Evaluation splits: ``{role}_task{number}_{kind}`` for the roles ``forget`` and ``retain``, the
    tasks 1, 2 and 3, and the kinds ``completion`` (the end of a document) and ``qa``; if listed in ``splits`` or if
    their file is given, ``mia_member`` and ``mia_nonmember``, texts for membership inference, and ``mmlu``.

    Rows have the columns ``id``, which ends in ``sc`` or ``qa`` and a number, ``input``, ``output`` and ``task``
    (``Task1``). These names are those that the organizers' scripts read; they were not checked against the data
    themselves. A column that is missing raises an error that names those that are there.

    Args:
        tokenizer: a tokenizer, or the name or path of one; by default that of the module's model.
        path: folder with ``forget_<fold>`` and ``retain_<fold>`` (also in its folder ``data``); None for the hub, which
            asks for a registration.
        fold: ``train`` or ``validation``, of the streams and of the evaluation: what is evaluated is what was to be
            forgotten.
        mia: folder with the files ``member`` and ``nonmember``, with a column ``document`` or ``text``; None for none.
        mmlu: file with MMLU's test questions; None for none.
        options: see :class:`~unlearn_pl.data.UnlearningDataModule`.

    Raises:
        ValueError: if the fold is unknown; from ``setup``, if a file or a column is missing, or a row names no task.

    References:
        Ramakrishna et al., "LUME: LLM Unlearning with Multitask Evaluations", arXiv 2502.15097.
    """

    def __init__(
        self,
        tokenizer: str | PreTrainedTokenizerBase | None = None,
        *,
        path: str | None = None,
        fold: Fold = "train",
        mia: str | None = None,
        mmlu: str | None = None,
        **options: Unpack[DataOptions],
    ) -> None:
        super().__init__(tokenizer, **options)
        if fold not in get_args(Fold):
            raise ValueError(f"fold={fold!r} is unknown; accepted are {', '.join(get_args(Fold))}.")
        self.path = path
        self.fold = fold
        self.mia = mia
        self.mmlu = mmlu

    def hub_datasets(self) -> Sequence[str]:
        """The public part of LUME, unless the files are in a folder."""
        return () if self.path is not None else (_HUB,)

    def load_streams(self) -> Mapping[str, StreamSource]:
        """The three training streams, each read on demand."""
        forget, retain = (LUMERows(self, role) for role in ROLES)
        return {"forget": forget, "retain": retain, "train": Joined([retain, forget])}

    def load_splits(self) -> Mapping[str, SplitSource]:
        """The twelve evaluation splits, and those whose files are given, each read on demand."""
        splits: dict[str, SplitSource] = {
            f"{role}_task{task}_{kind}": partial(self._rows_of, role, task, kind)
            for role in ROLES
            for task in TASKS
            for kind in KINDS.values()
        }
        if self.mia is not None:
            splits |= {f"mia_{name}": partial(_texts, self.mia, name) for name in ("member", "nonmember")}
        if self.mmlu is not None:
            splits["mmlu"] = partial(read_questions, self.mmlu)
        return splits

    def rows(self, role: str) -> "list[LUMERow]":
        """All rows of a role.

        Args:
            role: ``forget`` or ``retain``.

        Raises:
            ValueError: if the file is missing, or a row cannot be used.
        """
        return self._rows[role]

    @cached_property
    def _rows(self) -> "_Roles":
        return _Roles(self.path, self.fold)

    def _rows_of(self, role: str, task: int, kind: str) -> list[Completion]:
        found = [row.completion for row in self.rows(role) if (row.task, row.kind) == (task, kind)]
        if not found:
            raise ValueError(f"{role}_{self.fold} has no {kind} of task {task}; list the splits that there are.")
        return found


class LUMERow(NamedTuple):
    """A row of LUME.

    Attributes:
        task: its number.
        kind: ``completion`` or ``qa``.
        completion: input and output.
    """

    task: int
    kind: str
    completion: Completion


class LUMERows(RightAnswers):
    """The rows of a role as a stream.

    Args:
        data: the data module.
        role: ``forget`` or ``retain``.
    """

    def __init__(self, data: LUMEDataModule, role: str) -> None:
        super().__init__()
        self.data = data
        self.role = role

    def rows(self) -> list[Completion]:
        """Inputs and outputs."""
        return [row.completion for row in self.data.rows(self.role)]

    def __str__(self) -> str:
        return f"{self.role}_{self.data.fold}"


class _Roles(dict[str, list[LUMERow]]):
    """The rows of each role, read once and when they are needed."""

    def __init__(self, path: str | None, fold: str) -> None:
        super().__init__()
        self._path, self._fold = path, fold

    def __missing__(self, role: str) -> list[LUMERow]:
        name = f"{role}_{self._fold}"
        located = None if self._path is None else find_file(self._path, [name, f"data/{name}"])
        self[role] = read_records(located or HubDataset(_HUB, None, name), _parse, name)
        return self[role]


def _parse(row: Record) -> LUMERow:
    kind, task = _KIND.search(text_of(row, "id")), text_of(row, "task").removeprefix("Task").strip()
    if kind is None or task not in map(str, TASKS):
        raise BadRowError(
            f"id={row['id']!r} and task={row['task']!r}; accepted are an id that ends in sc or qa and a number, and "
            "Task1 to Task3"
        )
    return LUMERow(int(task), KINDS[kind[1]], Completion.joined(text_of(row, "input"), text_of(row, "output")))


def _texts(folder: str, name: str) -> Sequence[Passage]:
    def parse(row: Record) -> Passage:
        return Passage(text_of(row, "document" if "document" in row else "text"), whole=False)

    return read_records(find_file(folder, [name]), parse, f"mia_{name}")
