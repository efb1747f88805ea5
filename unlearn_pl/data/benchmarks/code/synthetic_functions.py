"""A benchmark of code models that is generated: nothing is downloaded."""

from typing import Unpack

from transformers import PreTrainedTokenizerBase

from unlearn_pl.data.benchmarks.code.code_streams import CodeSet, CodeStreams
from unlearn_pl.data.benchmarks.code.functions import functions, texts_of
from unlearn_pl.data.evaluation.code_completion import CodeCompletion
from unlearn_pl.data.options import DataOptions
from unlearn_pl.data.views.code_views import CodeViews
from unlearn_pl.models import train_tokenizer


class SyntheticFunctionsDataModule(CodeStreams):
    """Made-up Python functions, each with a secret of eight characters, for tiny models.

    The model is shown a function up to its secret and completes it. Streams and splits are those of
    :class:`~unlearn_pl.data.CodeStreams`.

    Args:
        tokenizer: a tokenizer, or the name or path of one; None trains a small one on the functions.
        forget_functions: functions of the forget set.
        retain_functions: functions of the retain set.
        holdout_functions: functions that no model is trained on.
        train_split: what ``train`` holds: ``full`` (retain and forget set, for the target model) or ``retain``.
        views: other programs with the same behavior; all transformations by default.
        candidates: views to choose from in ``forget.adversarial``.
        period: epochs between two choices.
        facts_seed: seed of names and secrets; ``seed`` is that of their order in training.
        vocab_size: largest vocabulary of the tokenizer that is trained when none is given.
        options: see :class:`~unlearn_pl.data.UnlearningDataModule`.

    Raises:
        ValueError: if ``train_split`` is unknown or a size is out of range.
    """

    def __init__(
        self,
        tokenizer: str | PreTrainedTokenizerBase | None = None,
        *,
        forget_functions: int = 10,
        retain_functions: int = 14,
        holdout_functions: int = 10,
        train_split: str = "full",
        views: CodeViews | None = None,
        candidates: int = 8,
        period: int = 5,
        facts_seed: int = 0,
        vocab_size: int = 512,
        **options: Unpack[DataOptions],
    ) -> None:
        if train_split not in ("full", "retain"):
            raise ValueError(f"train_split={train_split!r} is unknown; accepted are full, retain.")
        sizes = {"forget": forget_functions, "retain": retain_functions, "holdout": holdout_functions}
        self._functions = {name: functions(size, facts_seed, name) for name, size in sizes.items()}
        self.train_split = train_split
        self.views = views or CodeViews()
        self.candidates, self.period = candidates, period
        if tokenizer is None:
            rows = [row for rows in self._functions.values() for row in rows]
            tokenizer = train_tokenizer(texts_of(rows), vocab_size)
        super().__init__(tokenizer, **options)

    def code_rows(self, name: CodeSet) -> list[CodeCompletion]:
        """The functions of a set."""
        return self._functions[name]

    @property
    def _train(self) -> list[CodeCompletion]:
        forget = self._functions["forget"] if self.train_split == "full" else []
        return [*self._functions["retain"], *forget]
