"""The MUSE benchmark."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar

import lightning.pytorch as pl
from transformers import PreTrainedTokenizerBase

from unlearn_pl.callbacks.evaluation import GENERATE, Collected, EvaluationCallback
from unlearn_pl.callbacks.more_attacks import MoreAttacks
from unlearn_pl.callbacks.retain import check_questions
from unlearn_pl.functional import Compat
from unlearn_pl.functional.evaluation.compat import follows_openunlearning
from unlearn_pl.metrics import (
    ExactMemorization,
    ExtractionStrength,
    PerExampleMetric,
    RougeF1,
    membership_attacks,
    membership_intervals,
    membership_metrics,
    memorization_metrics,
    read_membership_scores,
)
from unlearn_pl.metrics.scores import Scores, mean_score
from unlearn_pl.modules import LanguageModule
from unlearn_pl.results import PerExample

VERBATIM = "verbmem_forget"
KNOWLEDGE = ("knowmem_forget", "knowmem_retain")
MEMBERS, NONMEMBERS, RETAINED = "privleak_forget", "privleak_holdout", "privleak_retain"
STOP = ("\n\n", "\nQuestion", "Question:")
"""Where the answer to a question ends, and a model goes on with the next one."""


class MUSEEvaluation(EvaluationCallback):
    """VerbMem, KnowMem and PrivLeak: is the text forgotten, what it says, and that it was trained on?

    ``validate`` computes what needs no generation: ``privleak``, the ``auc_{attack}`` of membership inference (members
    are ``privleak_forget``, non-members ``privleak_holdout``; see :func:`~unlearn_pl.metrics.membership_metrics`), and
    ``verbmem_forget_exact_memorization`` and ``verbmem_forget_extraction_strength``. ``test`` adds

    - ``verbmem_forget``: mean ROUGE-L F-measure of the greedy continuation and the right one, both cut off after
      ``verbmem_tokens`` tokens;
    - ``knowmem_forget`` and ``knowmem_retain``: the same of the answers to questions, of at most ``knowmem_tokens``
      tokens, cut off where the model writes the next question;
    - an interval for every AUC, see :func:`~unlearn_pl.metrics.membership_intervals`.

    Numbers are shares, but for ``privleak``, which is in percent. With ``compat="openunlearning"``:

    - ROUGE takes words that share a stem for equal;
    - the right continuation of VerbMem is not cut off;
    - memorization, membership inference and PrivLeak follow its conventions, see
      :func:`~unlearn_pl.functional.extraction_strength`, :func:`~unlearn_pl.functional.min_k` and
      :func:`~unlearn_pl.functional.priv_leak`.

    Args:
        retain_results: ``results.json`` of this callback for a model that was trained without the forget set, which
            PrivLeak compares with; without it, it compares with chance.
        output: file that ``test`` writes; ``results.json`` in the logger's directory when not given.
        compat: None for the conventions of the authors, ``openunlearning`` for those of OpenUnlearning.
        verbmem_tokens: length of continuations.
        knowmem_tokens: length of answers.
        more_attacks: further membership attacks, in ``test``; they cost more, see
            :class:`~unlearn_pl.callbacks.MoreAttacks`.

    Raises:
        ValueError: if ``compat`` is unknown, or a length not positive.

    References:
        Shi et al., "MUSE: Machine Unlearning Six-Way Evaluation for Language Models", ICLR 2025, arXiv 2407.06460.
    """

    benchmark: ClassVar[str] = "muse"

    def __init__(
        self,
        retain_results: str | None = None,
        output: str | None = None,
        compat: Compat = None,
        verbmem_tokens: int = 128,
        knowmem_tokens: int = 32,
        more_attacks: MoreAttacks | None = None,
    ) -> None:
        super().__init__(output)
        follows_openunlearning(compat)
        if min(verbmem_tokens, knowmem_tokens) < 1:
            raise ValueError(f"verbmem_tokens={verbmem_tokens} and knowmem_tokens={knowmem_tokens} must be at least 1.")
        self.retain_results = retain_results
        self.compat = compat
        self.verbmem_tokens = verbmem_tokens
        self.knowmem_tokens = knowmem_tokens
        self.more_attacks = more_attacks
        self._more_metrics: Callable[[], Mapping[str, PerExampleMetric]] = dict
        self._retain_attacks: tuple[Scores, Scores] = ({}, {})
        self._tokenizer: PreTrainedTokenizerBase | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Read the retain model's results, so that a wrong file is found before the work starts.

        Raises:
            ValueError: if they are not there, not readable, about other texts, or without scores of texts.
        """
        super().setup(trainer, pl_module, stage)
        if self.more_attacks is not None:
            self.more_attacks.prepare(trainer, pl_module)
            self._more_metrics = partial(self.more_attacks.metrics, trainer, self.compat)
        self._tokenizer = pl_module.load_tokenizer() if isinstance(pl_module, LanguageModule) else None
        if self.retain_results is None:
            return
        self._retain_attacks = read_membership_scores(self.retain_results, (MEMBERS, NONMEMBERS), self.compat)
        if not all(self._retain_attacks):
            raise ValueError(
                f"{self.retain_results!r} holds no membership scores of {MEMBERS} and {NONMEMBERS}. Accepted is the "
                "results.json of a test with MUSEEvaluation and both splits."
            )
        check_questions(trainer, self.retain_results, (MEMBERS, NONMEMBERS))

    def make_metrics(self, loader: str) -> Mapping[str, PerExampleMetric]:
        """Attacks on texts, memorization of continuations, and ROUGE for what is generated."""
        if loader in (MEMBERS, NONMEMBERS, RETAINED):
            return {**membership_attacks(self.compat), **(self._more_metrics() if self.stage == "test" else {})}
        if loader == VERBATIM:
            return {
                "exact_memorization": ExactMemorization(self.compat),
                "extraction_strength": ExtractionStrength(self.compat),
            }
        if loader == VERBATIM + GENERATE:
            return {"rouge": RougeF1(self._use_stemmer, None if self._use_stemmer else self._beginning)}
        if loader.endswith(GENERATE) and loader.removesuffix(GENERATE) in KNOWLEDGE:
            return {"rouge": RougeF1(self._use_stemmer)}
        return {}

    def generation(self, loader: str) -> tuple[int | None, Sequence[str]]:
        """Long continuations of texts, short answers to questions."""
        if loader == VERBATIM + GENERATE:
            return self.verbmem_tokens, ()
        if loader.endswith(GENERATE) and loader.removesuffix(GENERATE) in KNOWLEDGE:
            return self.knowmem_tokens, STOP
        return None, ()

    def summarize(self, collected: Collected) -> tuple[dict[str, float], PerExample]:
        """MUSE's metrics and scores per example."""
        per_example: dict[str, dict[str, dict[int, float]]] = {}
        for loader, metrics in collected.items():
            tables = {name: metric.per_example() for name, metric in metrics.items()}
            if tables:
                per_example.setdefault(loader.removesuffix(GENERATE), {}).update(tables)
        rouge = {split: per_example.get(split, {}).get("rouge") for split in (VERBATIM, *KNOWLEDGE)}
        means = {split: mean_score(values) for split, values in rouge.items() if values}
        members, nonmembers = per_example.get(MEMBERS, {}), per_example.get(NONMEMBERS, {})
        leaks = membership_metrics(members, nonmembers, *self._retain_attacks, self.compat)
        leaks |= membership_intervals(members, nonmembers) if self.stage == "test" else {}
        if "privleak" in leaks and self.retain_results is None:
            self.warn_once(
                "privleak compares with chance, because there is no model that was trained without the forget set. "
                "Test one with MUSEEvaluation, and give its results.json as retain_results."
            )
        return {**means, **leaks, **memorization_metrics(per_example)}, per_example

    @property
    def _use_stemmer(self) -> bool:
        return self.compat is not None

    def _beginning(self, text: str) -> str:
        """The first tokens of ``text``, as many as are generated; all of it without a tokenizer."""
        if self._tokenizer is None:
            return text
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return str(self._tokenizer.decode(ids[: self.verbmem_tokens]))
