"""All selections of a data module, each made once and the same on every rank."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_info

from unlearn_pl.data.sampling import stable_hash
from unlearn_pl.data.selection.choice import Choice, cached, choose, identity_of, keep, pool_of, summary
from unlearn_pl.data.selection.examples import LoadedModel, StreamExamples
from unlearn_pl.data.selection.selected_source import SelectedSource
from unlearn_pl.data.streams.documents import cache_folder
from unlearn_pl.data.streams.source import Source
from unlearn_pl.types import InitialModel


class ExamplesOf(Protocol):
    """Makes the examples of a stream, or of a source of its own."""

    def __call__(self, source: str | Source, name: str, model: LoadedModel) -> StreamExamples:
        """The examples of ``source``.

        Args:
            source: name of a stream, without its selection; or a source.
            name: what to call them in messages.
            model: measures them.
        """


class Selections:
    """Which rows of which stream are kept.

    Args:
        selected: name of a stream to what it holds.
    """

    def __init__(self, selected: Mapping[str, SelectedSource]) -> None:
        for name, value in selected.items():
            if not isinstance(value, SelectedSource):
                raise ValueError(
                    f"selected[{name!r}] is a {type(value).__name__}; accepted is a SelectedSource, such as "
                    "SelectedSource(Random(keep=0.5))."
                )
        self.selected = dict(selected)
        self._outcomes: dict[str, Choice | Exception] = {}

    def check(self, streams: Sequence[str]) -> None:
        """Check that all streams are there that the selections name.

        Args:
            streams: the names of the streams before any selection.

        Raises:
            ValueError: naming those that there are; for rows that are to be similar to themselves.
        """
        for name, selected in self.selected.items():
            if selected.selector.uses_anchors and selected.source == selected.anchor:
                raise ValueError(
                    f"selected[{name!r}] asks which rows of {selected.source!r} are similar to {selected.anchor!r}, "
                    "which they all are; accepted is another stream as anchor, such as anchor='retain'."
                )
            wanted = [selected.source] if isinstance(selected.source, str) else []
            wanted += [selected.anchor] if selected.selector.uses_anchors else []
            if missing := [stream for stream in wanted if stream not in streams]:
                raise ValueError(
                    f"selected[{name!r}] reads the stream {missing[0]!r}, which the data does not have; accepted are "
                    f"{list(streams)}, or for source a component such as QuestionAnswers."
                )

    def entry_for(self, stream: str) -> str | None:
        """The selection that decides which rows ``stream`` has; None for all of them.

        Companions of a selected stream, such as ``forget.alternate`` of ``forget``, have the same rows.
        """
        if stream in self.selected:
            return stream
        owner = stream.partition(".")[0]
        follows = owner in self.selected and self.selected[owner].source == owner
        return owner if follows else None

    def choice(
        self, name: str, examples_of: ExamplesOf, initial: Callable[[], InitialModel | None], trainer: pl.Trainer | None
    ) -> Choice:
        """The choice of the selection ``name``; every rank calls it, and rank 0 makes it, unless the cache has it.

        Args:
            name: of a selection.
            examples_of: makes the examples of a stream.
            initial: the model that measures them, if there is one.
            trainer: of the ranks; None for this process alone.

        Raises:
            ValueError: on every rank, if it cannot be made or keeps nothing.
        """
        if trainer is None or trainer.is_global_zero:
            self.prepare([name], examples_of, initial)
        outcome = self._outcomes.pop(name, None)  # an error is raised once: what is missing may be given later
        if trainer is not None and trainer.world_size > 1:
            outcome = trainer.strategy.broadcast(outcome)
        if isinstance(outcome, Exception):
            raise outcome
        assert outcome is not None
        self._outcomes[name] = outcome
        return outcome

    def prepare(
        self, names: Sequence[str], examples_of: ExamplesOf, initial: Callable[[], InitialModel | None]
    ) -> None:
        """Make the choices of ``names`` that were not made yet; errors are raised by :meth:`choice`, on all ranks."""
        missing = [name for name in dict.fromkeys(names) if name not in self._outcomes]
        model = LoadedModel(initial() if missing else None)
        for name in missing:
            try:
                self._outcomes[name] = self._made(name, examples_of, model)
            except Exception as error:
                self._outcomes[name] = error  # other ranks wait for it

    def hashes(self, streams: Sequence[str]) -> dict[str, str]:
        """Name of a selection that ``streams`` are a part of to a hash of its rows; they were loaded before."""
        made = {name: self._outcomes[name] for name in map(self.entry_for, streams) if name is not None}
        return {
            name: f"{stable_hash(*choice.rows.tolist()):016x}"
            for name, choice in made.items()
            if isinstance(choice, Choice)
        }

    def report(self, name: str) -> dict[str, object]:
        """The report of the selection ``name``.

        Raises:
            ValueError: if it was not made yet, or does not exist.
        """
        outcome = self._outcomes.get(name)
        if not isinstance(outcome, Choice):
            made = [each for each, of in self._outcomes.items() if isinstance(of, Choice)]
            raise ValueError(f"No selection {name!r} was made; made are {made}.")
        return outcome.report

    def _made(self, name: str, examples_of: ExamplesOf, model: LoadedModel) -> Choice:
        from filelock import FileLock

        selected = self.selected[name]
        examples = examples_of(selected.source, name, model)
        selected.selector.count(len(examples))  # before anything is measured
        anchors = None
        if selected.selector.uses_anchors:
            anchors = examples_of(selected.anchor, selected.anchor, model)
        identity = identity_of(selected, examples, anchors, model)
        path = cache_folder(selected.cache_dir) / f"selection-{identity[:32]}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            choice = cached(path)
            if choice is None:
                choice = choose(selected, pool_of(selected, examples, anchors))
                keep(path, choice)
        rank_zero_info(f"selected {name!r}: {summary(choice.report)}")
        return choice
