"""A stream with a part of another stream's rows."""

from unlearn_pl.data.selection.embedders import Embedder, HiddenStates
from unlearn_pl.data.selection.selector import Selector
from unlearn_pl.data.streams.source import Source
from unlearn_pl.recording import Recorded


class SelectedSource(Recorded):
    """A part of the rows of a stream, picked by a selector: a value of the argument ``selected`` of data modules.

    One line makes a stream smaller, or adds one, in any data module::

        selected:
          retain: {class_path: SelectedSource, init_args: {selector: {class_path: Random, init_args: {keep: 0.25}}}}

    The selection is made once, before the first step, by one process; all ranks get the same rows. It is kept in a file
    of the cache, which is named after a hash of the rows, the anchors, the selector, the embedder and the weights that
    measure them, so a second run reads it, and a changed row leads to a new one. A report goes to the log and
    the file.

    Args:
        source: name of the stream that has the rows, or rows of their own.
        selector: which of them are kept.
        embed: embeddings of rows and anchors; None for :class:`HiddenStates` of the module's model.
        mix: share of the kept rows that is drawn at random among the others instead, from 0 to 1.
        anchor: name of the stream that the rows are to be similar to, for selectors that ask for it.
        seed: seed of the random rows, and of those that the report compares with.
        cache_dir: folder of the file; None for the one named by ``UNLEARN_PL_CACHE``, or a folder in the cache of the
            ``datasets`` library.

    Raises:
        ValueError: if ``mix`` is out of its range.
    """

    def __init__(
        self,
        selector: Selector,
        source: str | Source = "retain",
        embed: Embedder | None = None,
        mix: float = 0.0,
        anchor: str = "forget",
        seed: int = 0,
        cache_dir: str | None = None,
    ) -> None:
        if not 0 <= mix <= 1:
            raise ValueError(f"mix={mix} is no share of the kept rows; accepted is a number from 0 to 1.")
        self.selector = selector
        self.source = source
        self.embed = embed or HiddenStates()
        self.mix = mix
        self.anchor = anchor
        self.seed = seed
        self.cache_dir = cache_dir

    @property
    def uses_model(self) -> bool:
        """Whether the model of the module measures something."""
        return self.selector.uses_model or (self.selector.uses_features and self.embed.uses_model)
