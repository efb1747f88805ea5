"""Leaks in sampled answers, as an option of an evaluation."""

from collections.abc import Mapping, Sequence

import lightning.pytorch as pl
from lightning.pytorch.strategies import ModelParallelStrategy

from unlearn_pl.callbacks.leaks.asked import asked_of, rows_of
from unlearn_pl.metrics import LeakTest, PerExampleMetric, RougeLeak, SampledLeaks
from unlearn_pl.models import Sampling
from unlearn_pl.modules import ModelModule
from unlearn_pl.recording import Recorded


class Leaks(Recorded):
    """leak@k in ``test``: the chance that one of k sampled answers leaks; an argument of an evaluation.

    Greedy answers hide what a model still says now and then. For every question of the splits, ``samples`` answers are
    drawn from the model. Metrics are, for every number k in ``ks``,

    - ``{split}_leak_at_{k}``: the chance that one of k answers leaks, :func:`~unlearn_pl.functional.leak_at_k`;
    - ``{split}_best_of_{k}``: the expected largest score, :func:`~unlearn_pl.functional.expected_maximum`, if the test
      grades answers.

    Both are unbiased means over questions, so that ``compare`` has their intervals. Those of a retain model are the
    best values: it answers right now and then, too. Costs ``samples`` generations per question.

    Args:
        samples: answers per question; the authors draw 200.
        test: which answers leak; by default those with a ROUGE-L recall of at least 0.5, :class:`RougeLeak`. Others are
            :class:`SpanLeak`, :class:`JudgedLeak`, :class:`EntailedLeak`, and your own :class:`LeakTest`.
        ks: numbers of answers that an attacker draws; by default 1, 2, 4, ... and ``samples``.
        splits: evaluation splits whose questions are asked.
        temperature: divides the logits.
        top_p: sample from the most likely tokens with this total probability.
        seed: seed of the draws.

    Raises:
        ValueError: if a number is out of range; there is no k above ``samples``.

    Example:
        >>> Leaks(samples=6).ks
        [1, 2, 4, 6]

    References:
        "Leak@k", arXiv 2511.04934; Scholten et al., "A Probabilistic Perspective on Unlearning and Alignment for Large
        Language Models", ICLR 2025, arXiv 2410.03523.
    """

    def __init__(
        self,
        samples: int = 16,
        test: LeakTest | None = None,
        ks: Sequence[int] | None = None,
        splits: Sequence[str] = ("forget",),
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> None:
        if samples < 1:
            raise ValueError(f"samples={samples}; accepted is a positive number.")
        doubled = [2**power for power in range(samples.bit_length()) if 2**power < samples]
        self.samples = samples
        self.test = test or RougeLeak()
        self.ks = [*doubled, samples] if ks is None else sorted(set(ks))
        if not self.ks or self.ks[0] < 1 or self.ks[-1] > samples:
            raise ValueError(f"ks={ks} with samples={samples}; accepted are numbers from 1 to {samples}.")
        if isinstance(splits, str) or not splits:
            raise ValueError(f"splits={splits!r}; accepted is a list of names, such as ['forget'].")
        self.splits = list(splits)
        self.sampling = Sampling(temperature, top_p)
        self.seed = seed

    def metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule, split: str) -> dict[str, PerExampleMetric]:
        """A new metric for the prompts of a split; empty for splits that are not asked.

        Args:
            trainer: about to test.
            pl_module: owns the model.
            split: name of the split.

        Raises:
            ValueError: if the module owns no model, or the questions are not known.
        """
        if split not in self.splits:
            return {}
        if not isinstance(pl_module, ModelModule):
            raise ValueError(f"Leaks need a ModelModule, but the module is a {type(pl_module).__name__}.")
        assert pl_module.model is not None
        metric = SampledLeaks(
            pl_module.model,
            pl_module.load_tokenizer(),
            asked_of(rows_of(trainer, split, "Leaks"), split),
            self.test,
            self.samples,
            self.ks,
            self.sampling,
            self.seed,
            pl_module.max_new_tokens,
            trainer.precision_plugin.forward_context,
            isinstance(trainer.strategy, ModelParallelStrategy),
        )
        return {"leaks": metric}

    def check(self, loaders: Mapping[str, object] | None) -> None:
        """Check that the splits have questions to answer.

        Args:
            loaders: dataloaders by name, None for none; those of prompts end in ``.generate``.

        Raises:
            ValueError: naming the splits that have none.
        """
        prompts = [name for name in loaders or () if name.endswith(".generate")]
        if missing := [split for split in self.splits if f"{split}.generate" not in prompts]:
            asked = [name.removesuffix(".generate") for name in prompts]
            raise ValueError(f"Leaks has no questions of the splits {missing}; there are those of {asked}.")
