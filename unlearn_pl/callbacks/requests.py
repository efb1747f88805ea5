"""Whether what was asked to be forgotten stays forgotten."""

from collections.abc import Mapping
from typing import ClassVar

from unlearn_pl.callbacks.evaluation import GENERATE, Collected, EvaluationCallback
from unlearn_pl.data.requests.sequential import REQUEST
from unlearn_pl.metrics import CandidateNLL, ExactMemorization, ExtractionStrength, PerExampleMetric
from unlearn_pl.metrics.memorization import memorization_metrics
from unlearn_pl.metrics.scores import mean_score
from unlearn_pl.metrics.tofu.scores import tofu_scores
from unlearn_pl.results import PerExample


class RequestEvaluation(EvaluationCallback):
    """What the model still knows of every request of :class:`~unlearn_pl.data.SequentialRequests` so far.

    Computes, in ``validate`` and ``test``, the mean over the rows of a request of ``{id}_probability`` (of the answer
    or text, per token: the geometric mean), ``{id}_exact_memorization`` and ``{id}_extraction_strength``, and of all
    requests ``highest_probability``, the probability of the request that is remembered best.

    Args:
        output: file that ``test`` writes; ``results.json`` in the logger's directory when not given, or
            ``results_requests.json`` when there are other evaluations.
    """

    benchmark: ClassVar[str] = "requests"

    def make_metrics(self, loader: str) -> Mapping[str, PerExampleMetric]:
        """Scores of the rows of a request."""
        if not loader.startswith(REQUEST) or loader.endswith(GENERATE):
            return {}
        return {
            "candidates": CandidateNLL(),
            "exact_memorization": ExactMemorization(),
            "extraction_strength": ExtractionStrength(),
        }

    def summarize(self, collected: Collected) -> tuple[dict[str, float], PerExample]:
        """Means by request, and the scores per example."""
        per_example: dict[str, dict[str, dict[int, float]]] = {}
        for loader, metrics in collected.items():
            for name, metric in metrics.items():
                if isinstance(metric, CandidateNLL):
                    scores = {"probability": tofu_scores("forget", metric.candidates())["probability"]}
                else:
                    scores = {name: metric.per_example()}
                per_example.setdefault(loader.removeprefix(REQUEST), {}).update(scores)
        means = {f"{request}_probability": mean_score(scores["probability"]) for request, scores in per_example.items()}
        highest = {"highest_probability": max(means.values())} if means else {}
        return {**means, **memorization_metrics(per_example), **highest}, per_example
