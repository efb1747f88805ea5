"""Leakage of models that others have published: numbers to compare an audit with."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ReferenceModel:
    """Leakage of a published model on a forget split of TOFU.

    Attributes:
        name: the model, and the split that it was trained on; ``full`` includes the forget split.
        split: forget split of the questions.
        rows: number of questions.
        probability: 0th, 10th, ..., 100th percentile over the questions of the probability of the answer, the geometric
            mean over its tokens.
        rouge: the same of the ROUGE-L recall of the generated answer.
    """

    name: str
    split: str
    rows: int
    probability: tuple[float, ...]
    rouge: tuple[float, ...]

    def percentile(self, score: str, value: float) -> float | None:
        """The percentage of this model's questions that leak no more than ``value``; None for other scores.

        Args:
            score: ``forget_probability`` or ``forget_rouge``.
            value: mean leakage of a model under audit.
        """
        known = {"forget_probability": self.probability, "forget_rouge": self.rouge}
        return percentile(known[score], value) if score in known else None


def percentile(deciles: Sequence[float], value: float) -> float:
    """Position of ``value`` among percentiles, in percent, interpolated linearly.

    Args:
        deciles: ascending, at equal distances from 0 to 100 %.
        value: a number; below the first one 0, from the last one on 100.

    Example:
        >>> percentile([0.0, 0.2, 1.0], 0.6)
        75.0
    """
    above = bisect_right(deciles, value)
    if above == 0:
        return 0.0
    if above == len(deciles):
        return 100.0
    low, high = deciles[above - 1], deciles[above]
    return 100 * (above - 1 + (value - low) / (high - low)) / (len(deciles) - 1)


def reference_models(split: str) -> list[ReferenceModel]:
    """The published models with numbers on a forget split of TOFU; empty for others."""
    return [model for model in TOFU if model.split == split]


TOFU = (
    ReferenceModel(
        "Llama-2-7B, full", "forget10", 300,
        (0.932, 0.981, 0.988, 0.991, 0.993, 0.994, 0.995, 0.996, 0.997, 0.998, 1.000),
        (0.222, 1.000, 1.000, 1.000, 1.000, 1.000, 1.000, 1.000, 1.000, 1.000, 1.000),
    ),
    ReferenceModel(
        "Llama-2-7B, retain90", "forget10", 300,
        (0.021, 0.043, 0.058, 0.072, 0.088, 0.105, 0.125, 0.158, 0.201, 0.303, 0.998),
        (0.083, 0.200, 0.257, 0.288, 0.333, 0.373, 0.429, 0.477, 0.545, 0.668, 1.000),
    ),
    ReferenceModel(
        "Llama-2-7B, retain95", "forget05", 200,
        (0.016, 0.043, 0.062, 0.079, 0.090, 0.110, 0.136, 0.172, 0.205, 0.306, 0.995),
        (0.098, 0.195, 0.250, 0.278, 0.306, 0.342, 0.390, 0.439, 0.556, 0.684, 1.000),
    ),
    ReferenceModel(
        "Llama-2-7B, retain99", "forget01", 40,
        (0.019, 0.069, 0.082, 0.089, 0.108, 0.130, 0.174, 0.198, 0.242, 0.296, 0.763),
        (0.176, 0.242, 0.289, 0.320, 0.333, 0.345, 0.368, 0.394, 0.477, 0.635, 0.857),
    ),
    ReferenceModel(
        "Phi-1.5, full", "forget10", 300,
        (0.542, 0.866, 0.905, 0.919, 0.931, 0.941, 0.951, 0.958, 0.966, 0.975, 0.998),
        (0.257, 0.646, 0.939, 1.000, 1.000, 1.000, 1.000, 1.000, 1.000, 1.000, 1.000),
    ),
    ReferenceModel(
        "Phi-1.5, retain90", "forget10", 300,
        (0.009, 0.037, 0.046, 0.061, 0.077, 0.098, 0.120, 0.148, 0.179, 0.264, 0.892),
        (0.125, 0.261, 0.300, 0.326, 0.359, 0.394, 0.441, 0.482, 0.548, 0.632, 1.000),
    ),
    ReferenceModel(
        "Phi-1.5, retain95", "forget05", 200,
        (0.010, 0.032, 0.043, 0.057, 0.080, 0.099, 0.121, 0.150, 0.203, 0.264, 0.844),
        (0.111, 0.250, 0.292, 0.323, 0.344, 0.393, 0.433, 0.477, 0.579, 0.667, 0.933),
    ),
    ReferenceModel(
        "Phi-1.5, retain99", "forget01", 40,
        (0.019, 0.054, 0.071, 0.074, 0.083, 0.104, 0.137, 0.158, 0.233, 0.270, 0.905),
        (0.222, 0.280, 0.315, 0.333, 0.355, 0.393, 0.428, 0.466, 0.567, 0.667, 0.857),
    ),
)  # fmt: skip
"""From the logs that the authors of TOFU published with their code (300 questions at most): fine-tuned for 5 epochs.

References:
    Maini et al., TOFU: A Task of Fictitious Unlearning for LLMs, COLM 2024, arXiv 2401.06121.
"""
