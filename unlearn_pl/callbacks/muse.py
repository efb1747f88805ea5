"""The MUSE benchmark."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar, cast

import lightning.pytorch as pl
from transformers import PreTrainedTokenizerBase

from unlearn_pl.callbacks.described.headline import Headline
from unlearn_pl.callbacks.evaluation import GENERATE, NO_ARGUMENTS, Arguments, Collected, EvaluationCallback
from unlearn_pl.callbacks.more_attacks import MoreAttacks
from unlearn_pl.callbacks.retain import check_questions, check_retain_auc, compares_with_chance, membership_of
from unlearn_pl.data import MUSEDataModule, SequentialRequests
from unlearn_pl.functional import Compat
from unlearn_pl.functional.evaluation.compat import follows_openunlearning
from unlearn_pl.metrics import (
    Direction,
    ExactMemorization,
    ExtractionStrength,
    PerExampleMetric,
    RougeF1,
    membership_attacks,
    membership_intervals,
    memorization_metrics,
    read_membership_scores,
)
from unlearn_pl.metrics.scores import mean_score
from unlearn_pl.modules import ModelModule
from unlearn_pl.modules.lightning_internals import attached_datamodule
from unlearn_pl.results import PerExample

VERBATIM = "verbmem_forget"
KNOWLEDGE = ("knowmem_forget", "knowmem_retain")
MEMBERS, NONMEMBERS, RETAINED = "privleak_forget", "privleak_holdout", "privleak_retain"
STOP = ("\n\n", "\nQuestion", "Question:")
"""Texts that end the answer to a question, where a model continues with the next question."""


class MUSEEvaluation(EvaluationCallback):
    """VerbMem, KnowMem and PrivLeak: whether the text, its content, and the training on it are forgotten.

    ``validate`` computes everything that needs no generation: ``privleak``, the ``auc_{attack}`` of membership
    inference (members are ``privleak_forget``, non-members ``privleak_holdout``; see
    :func:`~unlearn_pl.metrics.membership_metrics`), ``verbmem_forget_exact_memorization`` and
    ``verbmem_forget_extraction_strength``, and ``knowmem_forget_extraction_strength`` and
    ``knowmem_retain_extraction_strength``: the share of the answers to questions that greedy decoding completes from
    their rest, of what is to be forgotten and of what is to be kept (ours: the benchmark asks for no retain text
    verbatim). ``test`` adds

    - ``verbmem_forget``: mean ROUGE-L F-measure of the greedy continuation and the true one, both cut off after
      ``verbmem_tokens`` tokens. Those of the true one include the token that some tokenizers begin every text with, as
      in the authors' code;
    - ``knowmem_forget`` and ``knowmem_retain``: the same of the answers to questions, of at most ``knowmem_tokens``
      tokens, cut off where the model starts the next question;
    - an interval for every AUC, see :func:`~unlearn_pl.metrics.membership_intervals`.

    Numbers are shares, except ``privleak``, which is in percent. The prompts of KnowMem are those of the data module,
    whose own ``compat`` says how they end: :class:`~unlearn_pl.data.MUSEDataModule`. With ``compat="openunlearning"``:

    - ROUGE treats words that share a stem as equal;
    - the true continuation of VerbMem is not cut off;
    - memorization, membership inference and PrivLeak follow its conventions, see
      :func:`~unlearn_pl.functional.extraction_strength`, :func:`~unlearn_pl.functional.min_k` and
      :func:`~unlearn_pl.functional.priv_leak`.

    Args:
        retain_results: ``results.json`` of this callback for a retain model, which was trained without the forget set;
            without it, PrivLeak compares with ``retain_auc``.
        output: file that ``test`` writes; by default ``results.json`` in the logger's directory.
        compat: None for the conventions of the authors, ``openunlearning`` for those of OpenUnlearning.
        verbmem_tokens: length of continuations.
        knowmem_tokens: length of answers.
        more_attacks: further, more expensive membership attacks, in ``test``; see
            :class:`~unlearn_pl.callbacks.MoreAttacks`.
        retain_auc: the AUC of Min-K% on a retain model, if it is published but the model's scores are not; None for
            chance, 0.5. It is that of :func:`~unlearn_pl.functional.auc`, which equals OpenUnlearning's; the authors of
            MUSE give 1 minus it (0.4772 for the News and 0.5393 for the Books, hence 0.5228 and 0.4607 here).

    Raises:
        ValueError: if ``compat`` is unknown, a length is not positive, or ``retain_auc`` is not in ``[0, 1]`` or comes
            with ``retain_results``.

    References:
        Shi et al., "MUSE: Machine Unlearning Six-Way Evaluation for Language Models", ICLR 2025, arXiv 2407.06460.
    """

    benchmark: ClassVar[str] = "muse"
    definitions: ClassVar[Mapping[str, str]] = {
        "verbmem_forget": "ROUGE-L F1 of continuations of texts of the forget set, mean over the texts.",
        **dict.fromkeys(("knowmem_forget", "knowmem_retain"), "ROUGE-L F1 of answers to questions, mean."),
    }
    headline: ClassVar[Headline] = Headline(forgotten=("verbmem_forget", "knowmem_forget"), kept=("knowmem_retain",))
    against_retain: ClassVar[frozenset[str]] = frozenset({"privleak", "privacy"})
    directions: ClassVar[Mapping[str, Direction]] = {
        **dict.fromkeys(("verbmem_forget*", "knowmem_forget*", "auc_*", "privleak"), "retain"),
        **dict.fromkeys(("knowmem_retain*", "privacy"), "higher"),
    }

    def __init__(
        self,
        retain_results: str | None = None,
        output: str | None = None,
        compat: Compat = None,
        verbmem_tokens: int = 128,
        knowmem_tokens: int = 32,
        more_attacks: MoreAttacks | None = None,
        retain_auc: float | None = None,
    ) -> None:
        super().__init__(output)
        follows_openunlearning(compat)
        check_retain_auc(retain_auc, retain_results)
        if min(verbmem_tokens, knowmem_tokens) < 1:
            raise ValueError(f"verbmem_tokens={verbmem_tokens} and knowmem_tokens={knowmem_tokens} must be at least 1.")
        self.retain_results = retain_results
        self.compat = compat
        self.verbmem_tokens = verbmem_tokens
        self.knowmem_tokens = knowmem_tokens
        self.more_attacks = more_attacks
        self.retain_auc = retain_auc
        self._more_metrics: Callable[[], Mapping[str, PerExampleMetric]] = dict
        self._tokenizer: PreTrainedTokenizerBase | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Read the results of the retain model, so that a wrong file is found before the work starts.

        Raises:
            ValueError: if they are missing, not readable, about other texts, or without membership scores.
        """
        super().setup(trainer, pl_module, stage)
        if self.more_attacks is not None:
            self.more_attacks.prepare(trainer, pl_module)
            self._more_metrics = partial(self.more_attacks.metrics, trainer, self.compat)
        self._tokenizer = pl_module.load_tokenizer() if isinstance(pl_module, ModelModule) else None
        self._check_prompts(attached_datamodule(trainer))
        if self.retain_results is None:
            return
        self.retain_scores = self.read_retain_scores(self.retain_results, {"compat": self.compat})
        check_questions(trainer, self.retain_results, (MEMBERS, NONMEMBERS))

    def make_metrics(self, loader: str) -> Mapping[str, PerExampleMetric]:
        """Attacks on texts, memorization of continuations, and ROUGE of generated texts."""
        if loader in (MEMBERS, NONMEMBERS, RETAINED):
            return {**membership_attacks(self.compat), **(self._more_metrics() if self.stage == "test" else {})}
        if loader == VERBATIM:
            return {
                "exact_memorization": ExactMemorization(self.compat),
                "extraction_strength": ExtractionStrength(self.compat),
            }
        if loader in KNOWLEDGE:
            return {"extraction_strength": ExtractionStrength(self.compat)}
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

    @classmethod
    def metrics_of(
        cls, per_example: PerExample, retain: PerExample | None = None, arguments: Arguments = NO_ARGUMENTS
    ) -> dict[str, float]:
        """VerbMem, KnowMem, membership inference and PrivLeak, and memorization.

        Args:
            per_example: split to score to index to value.
            retain: the same of the retain model; None for a PrivLeak compared with ``retain_auc`` or chance.
            arguments: those of the callback; ``compat`` and ``retain_auc`` are read.
        """
        rouge = {split: per_example.get(split, {}).get("rouge") for split in (VERBATIM, *KNOWLEDGE)}
        return {
            **{split: mean_score(values) for split, values in rouge.items() if values},
            **membership_of((MEMBERS, NONMEMBERS), per_example, retain, arguments),
            **memorization_metrics(per_example),
        }

    @classmethod
    def read_retain_scores(cls, path: str, arguments: Arguments = NO_ARGUMENTS) -> PerExample:
        """Scores of attacks on members and non-members.

        Args:
            path: ``results.json`` of the retain model.
            arguments: those of the callback; ``compat`` is read.

        Raises:
            ValueError: if the file has no such scores, or follows other conventions.
        """
        members, nonmembers = read_membership_scores(path, (MEMBERS, NONMEMBERS), cast(Compat, arguments.get("compat")))
        if not (members and nonmembers):
            raise ValueError(
                f"{path!r} holds no membership scores of {MEMBERS} and {NONMEMBERS}. Accepted is the results.json of a "
                "test with MUSEEvaluation and both splits."
            )
        return {MEMBERS: members, NONMEMBERS: nonmembers}

    def summarize(self, collected: Collected) -> tuple[dict[str, float], PerExample]:
        """The metrics, in ``test`` with intervals of the AUCs, and the scores per example."""
        per_example = self.scores_of(collected)
        arguments = {"compat": self.compat, "retain_auc": self.retain_auc}
        metrics = self.metrics_of(per_example, self.retain_scores, arguments)
        if self.stage == "test":
            metrics |= membership_intervals(per_example.get(MEMBERS, {}), per_example.get(NONMEMBERS, {}))
        against_chance = self.retain_auc is None and compares_with_chance(self.retain_scores, (MEMBERS, NONMEMBERS))
        if "privleak" in metrics and against_chance:
            self.warn_once(
                "privleak compares with chance, because there are no retain_results. Test a retain model, trained "
                "without the forget set, with MUSEEvaluation, and give its results.json as retain_results; or give a "
                "published AUC as retain_auc."
            )
        return metrics, per_example

    def _check_prompts(self, data: object) -> None:
        """Warn if the prompts follow other conventions than the numbers."""
        data = data.data if isinstance(data, SequentialRequests) else data
        if isinstance(data, MUSEDataModule) and self.compat is not None and data.compat is None:
            self.warn_once(
                f"KnowMem follows compat={self.compat!r}, but its prompts end with 'Answer:' and not with 'Answer: '. "
                f"Give compat={self.compat!r} to the data module as well."
            )

    @property
    def _use_stemmer(self) -> bool:
        return self.compat is not None

    def _beginning(self, text: str) -> str:
        """The first ``verbmem_tokens`` tokens of ``text``, special ones included; all of it without a tokenizer."""
        if self._tokenizer is None:
            return text
        ids = self._tokenizer(text, verbose=False)["input_ids"]
        return str(self._tokenizer.decode(ids[: self.verbmem_tokens], skip_special_tokens=True))
