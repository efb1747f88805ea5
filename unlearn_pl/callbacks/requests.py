"""What a model remembers of sequential unlearning requests."""

from collections.abc import Mapping
from typing import ClassVar

from unlearn_pl.callbacks.described.headline import Headline
from unlearn_pl.callbacks.evaluation import GENERATE, NO_ARGUMENTS, Arguments, Collected, EvaluationCallback
from unlearn_pl.data.requests.sequential import REQUEST
from unlearn_pl.metrics import (
    CandidateNLL,
    Direction,
    ExactMemorization,
    ExtractionStrength,
    PerExampleMetric,
    memorization_metrics,
    tofu_scores,
)
from unlearn_pl.metrics.scores import mean_score
from unlearn_pl.results import PerExample


class RequestEvaluation(EvaluationCallback):
    """Remaining knowledge of every request of :class:`~unlearn_pl.data.SequentialRequests` so far.

    Computes, in ``validate`` and ``test``, means over the rows of a request: ``{id}_probability`` (of the answer or
    text, as geometric mean over its tokens), ``{id}_exact_memorization`` and ``{id}_extraction_strength``; and
    ``highest_probability``, the largest ``{id}_probability`` of all requests.

    Args:
        output: file that ``test`` writes; by default ``results.json`` in the logger's directory, or
            ``results_requests.json`` if the Trainer has other evaluations.
    """

    benchmark: ClassVar[str] = "requests"
    definitions: ClassVar[Mapping[str, str]] = {
        "highest_probability": "The highest of the probabilities of all requests so far.",
    }
    headline: ClassVar[Headline] = Headline(forgotten=("highest_probability",), kept=())
    directions: ClassVar[Mapping[str, Direction]] = {"*": "retain"}

    def make_metrics(self, loader: str) -> Mapping[str, PerExampleMetric]:
        """Scores of the rows of a request."""
        if not loader.startswith(REQUEST) or loader.endswith(GENERATE):
            return {}
        return {
            "candidates": CandidateNLL(),
            "exact_memorization": ExactMemorization(),
            "extraction_strength": ExtractionStrength(),
        }

    @classmethod
    def metrics_of(
        cls, per_example: PerExample, retain: PerExample | None = None, arguments: Arguments = NO_ARGUMENTS
    ) -> dict[str, float]:
        """Means by request, and the highest probability.

        Args:
            per_example: request to score to index to value.
            retain: not read.
            arguments: not read.
        """
        means = {
            f"{request}_probability": mean_score(scores["probability"])
            for request, scores in per_example.items()
            if "probability" in scores
        }
        highest = {"highest_probability": max(means.values())} if means else {}
        return {**means, **memorization_metrics(per_example), **highest}

    def scores_of(self, collected: Collected) -> PerExample:
        """Probability and memorization of the rows of every request."""
        per_example: dict[str, dict[str, dict[int, float]]] = {}
        for loader, metrics in collected.items():
            for name, metric in metrics.items():
                if isinstance(metric, CandidateNLL):
                    scores = {"probability": tofu_scores("forget", metric.candidates())["probability"]}
                else:
                    scores = {name: metric.per_example()}
                per_example.setdefault(loader.removeprefix(REQUEST), {}).update(scores)
        return per_example
