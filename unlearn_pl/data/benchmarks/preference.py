"""Human preference data: unlearning of harmful answers."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Unpack

from lightning.pytorch.utilities import rank_zero_info
from transformers import PreTrainedTokenizerBase

from unlearn_pl.data.benchmarks.judged_prompt import JudgedPrompt, read_judged
from unlearn_pl.data.benchmarks.question_files import read_question_answers
from unlearn_pl.data.evaluation.evaluation_row import SplitSource
from unlearn_pl.data.io.find_file import find_file
from unlearn_pl.data.io.hub_dataset import HubDataset
from unlearn_pl.data.module import UnlearningDataModule, check_positive
from unlearn_pl.data.options import DataOptions
from unlearn_pl.data.streams.source import StreamSource
from unlearn_pl.data.text.encoder import Row
from unlearn_pl.data.text.refusals import REFUSALS


class PreferenceDataModule(UnlearningDataModule):
    """PKU-SafeRLHF from the Hugging Face hub, or judged answers from files: the task of MOLLM.

    Training streams: ``forget`` (prompts with harmful answers), ``retain`` (prompts with harmless answers),
    ``forget.alternate`` (for every row of ``forget`` the harmless answers to the same prompt, of which every round
    draws a new one, or refusals if there are none), ``normal`` (unrelated questions, for the KL of MOLLM) and ``train``
    (all but the alternates, for the target model). Evaluation splits: ``forget`` and ``retain`` (the same of the test
    set), ``preference`` (prompts with the safer answer as the correct one, and the other as a wrong one)
    and ``normal``.

    Rows have the columns of PKU-SafeRLHF: ``prompt``, ``response_0``, ``response_1``, ``is_response_0_safe``,
    ``is_response_1_safe`` and ``safer_response_id`` (its other columns are not read); or ``prompt``, ``chosen`` and
    ``rejected``, which count as harmless and harmful.

    Args:
        tokenizer: a tokenizer, or the name or path of one; by default that of the module's model.
        path: a file (JSON Lines, CSV or Parquet), which serves training and evaluation, or a folder with ``train`` and
            ``test`` files; None for the hub (``PKU-Alignment/PKU-SafeRLHF``).
        normal: file of questions and answers (columns ``question`` and ``answer``, or those of ``TruthfulQA.csv``);
            None for TruthfulQA from the hub; with a ``path``, for no such stream and split.
        forget_size: only the first rows of ``forget``; None for all.
        retain_size: only the first rows of ``retain``; None for all.
        options: see :class:`~unlearn_pl.data.UnlearningDataModule`.

    Raises:
        ValueError: if a size is not positive; from ``setup``, if a file or a column is missing.

    References:
        Pan et al., Multi-objective large language model unlearning, arXiv 2412.20412 (the task; its text was not
        available, so how rows are assigned to streams is our reading). Ji et al., "PKU-SafeRLHF: Towards Multi-Level
        Safety Alignment for LLMs with Human Preference", arXiv 2406.15513. Lin et al., "TruthfulQA: Measuring How
        Models Mimic Human Falsehoods", arXiv 2109.07958.
    """

    def __init__(
        self,
        tokenizer: str | PreTrainedTokenizerBase | None = None,
        *,
        path: str | None = None,
        normal: str | None = None,
        forget_size: int | None = None,
        retain_size: int | None = None,
        **options: Unpack[DataOptions],
    ) -> None:
        super().__init__(tokenizer, **options)
        check_positive(forget_size=forget_size, retain_size=retain_size)
        self.path = path
        self.normal = normal
        self.forget_size = forget_size
        self.retain_size = retain_size

    def hub_datasets(self) -> Sequence[str]:
        """``PKU-Alignment/PKU-SafeRLHF``, unless the files are in a folder."""
        return () if self.path is not None else ("PKU-Alignment/PKU-SafeRLHF",)

    def load_streams(self) -> Mapping[str, StreamSource]:
        """The training streams, each read on demand."""
        return {
            "forget": self._forget,
            "retain": self._retain,
            "forget.alternate": self._alternates,
            **self._normal_rows(),
            "train": self._everything,
        }

    def load_splits(self) -> Mapping[str, SplitSource]:
        """The evaluation splits, each read on demand."""
        return {
            "forget": lambda: _rows(self._test, safe=False),
            "retain": lambda: _rows(self._test, safe=True),
            "preference": lambda: [judged.comparison() for judged in self._test],
            **self._normal_rows(),
        }

    @cached_property
    def _train(self) -> list[JudgedPrompt]:
        return self._read("train")

    @cached_property
    def _test(self) -> list[JudgedPrompt]:
        return self._train if self.path is not None and Path(self.path).is_file() else self._read("test")

    def _read(self, split: str) -> list[JudgedPrompt]:
        if self.path is None:
            return read_judged(HubDataset("PKU-Alignment/PKU-SafeRLHF", "default", split))
        is_file = Path(self.path).is_file()
        return read_judged(self.path if is_file else find_file(self.path, [split]))

    def _forget(self) -> list[Row]:
        return _rows(self._train, safe=False)[: self.forget_size]

    def _retain(self) -> list[Row]:
        return _rows(self._train, safe=True)[: self.retain_size]

    def _everything(self) -> list[Row]:
        normal = [row for load in self._normal_rows().values() for row in load()]
        return [*self._retain(), *normal, *self._forget()]

    def _alternates(self) -> list[Row]:
        harmless: dict[str, list[str]] = {}
        for judged in self._train:
            harmless.setdefault(judged.prompt, []).extend(judged.answers(safe=True))
        prompts = [str(row["question"]) for row in self._forget()]
        without = sum(not harmless[prompt] for prompt in prompts)
        if without:
            rank_zero_info(f"forget.alternate: {without} of {len(prompts)} prompts have no harmless answer: refusals")
        return [Row(question=prompt, answer=harmless[prompt] or REFUSALS) for prompt in prompts]

    def _normal_rows(self) -> dict[str, Callable[[], list[Row]]]:
        if self.normal is None and self.path is not None:
            return {}
        table = self.normal or HubDataset("truthfulqa/truthful_qa", "generation", "validation")
        return {"normal": partial(read_question_answers, table)}


def _rows(judged: Sequence[JudgedPrompt], *, safe: bool) -> list[Row]:
    return [Row(question=row.prompt, answer=answer) for row in judged for answer in row.answers(safe=safe)]
