"""Deletion requests that arrive one after another."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from pathlib import Path
from typing import NotRequired, TypedDict, cast

import numpy as np
import numpy.typing as npt
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from unlearn_pl.data.evaluation.evaluation_row import EvaluationRow, EvaluationRows, SplitSource, load_split
from unlearn_pl.data.io.in_memory import kept
from unlearn_pl.data.io.recorded_rows import with_described
from unlearn_pl.data.module import UnlearningDataModule
from unlearn_pl.data.overlap.hashes import overlap_of
from unlearn_pl.data.requests.cuts import Cuts
from unlearn_pl.data.requests.forget_rows import ForgetRows
from unlearn_pl.data.requests.subset import SubsetDataModule
from unlearn_pl.data.streams.datasets import TrainingDataset
from unlearn_pl.data.streams.exclusion import RemainingDataset
from unlearn_pl.data.streams.source import Source, StreamSource
from unlearn_pl.data.text.encoder import Encoder
from unlearn_pl.data.text.template import Example
from unlearn_pl.recording import arguments_of

REQUEST = "request."
"""Prefix of the evaluation split with the rows of a request; its ``id`` follows."""


class Request(TypedDict):
    """A request that a model forget something; it has either ``forget`` or ``rows``.

    Attributes:
        id: its name, in letters, digits, ``-`` and ``_``.
        forget: its forget set, as the data module's argument ``forget`` accepts it: a file, a source, a text of MUSE.
        rows: its rows of the data module's forget set: the first one, and the one after the last.
        asked: when it was made, for the audit trail.
    """

    id: str
    forget: NotRequired[str | Source | Path]
    rows: NotRequired[tuple[int, int]]
    asked: NotRequired[str]


class SequentialRequests(SubsetDataModule):
    """Data for one of several requests that are carried out one after another, each on the model of the previous one.

    Streams, splits, tokenizer and sizes are those of another data module::

        authors = SyntheticAuthorsDataModule(forget_authors=3)
        requests = [Request(id=f"author-{i}", rows=(10 * i, 10 * i + 10)) for i in range(3)]
        data = SequentialRequests(authors, requests, request="author-1")

    The stream ``forget`` (and its companions, such as ``forget.alternate``) holds the rows of the current request. Rows
    of this and of all earlier requests are removed from the other streams, whatever their case, punctuation and white
    space, and counted in the log; only ``train``, for the target model, keeps them. Of texts, every chunk that contains
    a part of them is removed. The rows of earlier requests must therefore still be available. Rows of later requests
    are not known yet and stay in their streams.

    Evaluation splits are those of the data module and, for every request up to the current one, ``request.<id>``: its
    rows, which are scored only. They show whether forgotten rows stay forgotten.

    Args:
        data: the data module of all requests.
        requests: the requests, in their order.
        request: ``id`` of the current one; the last one by default.
        evaluate_earlier: whether earlier requests are evaluated as well.

    Raises:
        ValueError: if the ``id`` of a request is not valid or not unique, or its forget set is missing; from ``setup``,
            if earlier requests had all of its rows, or no row is left to be retained.

    References:
        Shi et al., "MUSE: Machine Unlearning Six-Way Evaluation for Language Models", arXiv 2407.06460, on
        sustainability.
    """

    def __init__(
        self,
        data: UnlearningDataModule,
        requests: Sequence[Request],
        request: str | None = None,
        evaluate_earlier: bool = True,
    ) -> None:
        check_requests(data, requests)
        ids = [each["id"] for each in requests]
        if request is not None and request not in ids:
            raise ValueError(f"request={request!r} is unknown; accepted are {', '.join(ids)}.")
        super().__init__(data)
        self.requests = [_kept(each) for each in requests]
        self.request = request or ids[-1]
        self.evaluate_earlier = evaluate_earlier
        self._so_far = ids[: ids.index(self.request) + 1]
        rows = [each["rows"] for each in self.requests[: len(self._so_far)] if "rows" in each]
        self._cuts = Cuts((start, end) for start, end in rows)
        self._asked: dict[str, TrainingDataset] = {}
        self._modules: dict[str, UnlearningDataModule] = {}
        if self.splits is not None:
            self.splits = [*self.splits, *self._evaluated]

    def recorded_arguments(self) -> dict[str, object]:
        """The arguments, with a description of rows in memory in their place."""
        arguments = arguments_of(self)
        return {**arguments, "requests": [with_described(each, ("forget",)) for each in arguments["requests"]]}

    @property
    def current(self) -> Request:
        """The current request."""
        return next(each for each in self.requests if each["id"] == self.request)

    @property
    def earlier(self) -> list[str]:
        """The ``id`` of every request before the current one."""
        return self._so_far[:-1]

    def at(self, request: str) -> "SequentialRequests":
        """The data for another request.

        Args:
            request: its ``id``.
        """
        return SequentialRequests(self.data, self.requests, request, self.evaluate_earlier)

    def requested_rows(self) -> tuple[int, str]:
        """Number of rows or documents of the current request, and a SHA-256 of them that ignores their order."""
        hashes = self._rows_of(self.request).hashes()
        return len(hashes.exact), hashlib.sha256(np.sort(hashes.exact).tobytes()).hexdigest()

    def load_streams(self) -> Mapping[str, StreamSource]:
        """The streams of the data module, with the rows of the current request as ``forget``."""
        return self._module(self.request).load_streams()

    def load_splits(self) -> Mapping[str, SplitSource]:
        """The splits of the data module, and ``request.<id>``."""
        splits = self._module(self.request).load_splits()
        return {**splits, **{name: partial(self._scored, name.removeprefix(REQUEST)) for name in self._evaluated}}

    def setup(self, stage: str | None = None) -> None:
        """Loads and tokenizes what ``stage`` needs; warns of retain rows that nearly equal forget rows."""
        super().setup(stage)
        if stage in (None, "fit") and {"forget", "retain"} <= set(self.streams):
            near = overlap_of(self._training["forget"].hashes(), self._training["retain"].hashes())
            if near is not None:
                rank_zero_warn(near)

    @property
    def _evaluated(self) -> list[str]:
        return [REQUEST + each for each in (self._so_far if self.evaluate_earlier else self._so_far[-1:])]

    def _module(self, request: str) -> UnlearningDataModule:
        """The data module for one request by itself."""
        if request not in self._modules:
            given = next(each for each in self.requests if each["id"] == request)
            if "forget" in given:
                arguments = {**arguments_of(self.data), "forget": given["forget"]}
                self._modules[request] = type(self.data)(**arguments)
            else:
                self._modules[request] = ForgetRows(self.data, *given["rows"], self._cuts)
        return self.attached(self._modules[request])

    def _rows_of(self, request: str) -> TrainingDataset:
        """The rows of a request, tokenized."""
        if request not in self._asked:
            self._asked[request] = super()._dataset("forget", self._module(request).load_streams()["forget"])
        return self._asked[request]

    def _near(self, request: str) -> npt.NDArray[np.int64]:
        """Hashes of a request's rows that ignore case, punctuation and white space."""
        return self._rows_of(request).hashes().near

    def _dataset(self, name: str, source: StreamSource) -> TrainingDataset:
        if name == "forget":
            self._check_new()
            return self._rows_of(self.request)
        dataset = super()._dataset(name, source)
        return dataset if name.partition(".")[0] in ("forget", "train") else self._without_requested(name, dataset)

    def _check_new(self) -> None:
        """Raise if earlier requests had all rows of the current one; warn if they had some."""
        if not self.earlier:
            return
        before = np.isin(self._near(self.request), np.concatenate([self._near(each) for each in self.earlier]))
        again = f"{before.sum()} of the {len(before)} rows of the request {self.request!r} were requested before"
        if before.all():
            raise ValueError(
                f"{again}, by {', '.join(self.earlier)}: there is nothing new to forget. Drop the request."
            )
        if before.any():
            rank_zero_warn(f"{again}, by {', '.join(self.earlier)}.")

    def _without_requested(self, name: str, dataset: TrainingDataset) -> TrainingDataset:
        requested = np.concatenate([self._near(each) for each in self._so_far])
        left_out = np.isin(dataset.hashes().near, requested)
        if not left_out.any():
            return dataset
        remaining = RemainingDataset(dataset, left_out)
        if not len(remaining):
            raise ValueError(f"Nothing is left of the stream {name!r}: all of it was requested to be forgotten.")
        rank_zero_info(f"stream {name!r}: {left_out.sum()} of {len(left_out)} rows are removed, as they were requested")
        return remaining

    def _scored(self, request: str) -> list[EvaluationRow]:
        module = self._module(request)
        splits, source = module.load_splits(), module.load_streams()["forget"]
        if "forget" in splits:
            rows: SplitSource = splits["forget"]
        elif isinstance(source, Source):
            rows = source.evaluation_rows(self._encoder, self.max_eval_examples)
        else:
            rows = cast(EvaluationRows, source() if callable(source) else source)
        return [ScoredOnly(row) for row in load_split(rows, f"split {REQUEST + request!r}")]


@dataclass(frozen=True)
class ScoredOnly(EvaluationRow):
    """A row of which nothing is generated."""

    row: EvaluationRow

    def examples(self, encoder: Encoder, where: str) -> list[Example]:
        """The examples of the row."""
        return self.row.examples(encoder, where)

    def content(self) -> str:
        """The content of the row."""
        return self.row.content()


def _kept(request: Request) -> Request:
    """``request``, with rows that can be read more than once."""
    return cast(Request, {**request, "forget": kept(request["forget"])}) if "forget" in request else request


def check_requests(data: UnlearningDataModule, requests: Sequence[Request]) -> None:
    """Checks that ``requests`` are complete, and that ``data`` accepts them.

    Raises:
        ValueError: naming the request, and what is accepted.
    """
    if not requests:
        raise ValueError("requests=[] leaves nothing to forget; accepted is at least one request.")
    ids = [request.get("id", "") for request in requests]
    for each in ids:
        if not isinstance(each, str) or not re.fullmatch(r"[\w-]+", each):
            raise ValueError(f"The id {each!r} of a request is not valid; accepted are letters, digits, '-' and '_'.")
        if ids.count(each) > 1:
            raise ValueError(f"{ids.count(each)} requests have the id {each!r}; every request needs an id of its own.")
    for request in requests:
        name = request["id"]
        if ("forget" in request) == ("rows" in request):
            raise ValueError(
                f"The request {name!r} has the keys {sorted(request)}; accepted is one of forget and rows."
            )
        if "rows" in request and len(request["rows"]) != 2:
            raise ValueError(f"The request {name!r} has rows={request['rows']}; accepted is [first, after last].")
        if "forget" in request and "forget" not in signature(type(data).__init__).parameters:
            raise ValueError(
                f"The request {name!r} has forget={request['forget']!r}, but {type(data).__name__} has no argument "
                "forget; accepted is rows=[first, after last], rows of its forget set."
            )
