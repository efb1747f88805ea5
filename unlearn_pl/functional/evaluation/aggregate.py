"""Aggregate scores: OpenUnlearning's memorization, privacy and utility, and their harmonic mean.

Every score is in ``[0, 1]``; higher is better. A score of 0 makes the mean 0, a NaN makes it NaN. The code behind the
published tables was not released; formulas that are our reading are marked as such.

References:
    Dorna et al., OpenUnlearning: Accelerating LLM Unlearning via Unified Benchmarking of Methods and Metrics, 2025,
    arXiv 2506.12618.
"""

import math
from collections.abc import Iterable, Mapping

ROUNDING = 1e-6
"""Excess beyond ``[0, 1]`` that counts as rounding and is clamped."""


def harmonic_mean(values: Iterable[float]) -> float:
    """``n / sum_i (1 / v_i)``; 0 if a value is 0.

    Args:
        values: at least one, none negative.

    Returns:
        A number between the least and the greatest value; NaN if a value is NaN, even alongside a 0.

    Raises:
        ValueError: if there are no values, or one is negative.

    Example:
        >>> harmonic_mean([1.0, 0.5])
        0.6666666666666666
    """
    numbers = [float(value) for value in values]
    if not numbers or any(number < 0 for number in numbers):
        raise ValueError(f"A harmonic mean needs non-negative values; got {numbers}.")
    if any(math.isnan(number) for number in numbers):
        return math.nan
    return 0.0 if 0 in numbers else len(numbers) / math.fsum(1 / number for number in numbers)


def memorization_score(
    extraction_strength: float, exact_memorization: float, paraphrase_probability: float, truth_ratio: float
) -> float:
    """``HM(1 - ES, 1 - EM, 1 - P, 1 - TR)`` on the forget set: 1 if nothing is memorized.

    Args:
        extraction_strength: mean over the answers.
        exact_memorization: mean over the answers.
        paraphrase_probability: mean probability of the paraphrased answers.
        truth_ratio: ``mean_i p_i / (p_i + p_wrong_i)`` of the paraphrased and the perturbed answers (averaged), that
            is ``mean_i 1 / (1 + R_i)`` of the geometric :func:`~unlearn_pl.functional.truth_ratio` (OpenUnlearning's
            released ``prob_mean``, which averages losses). It is not the ``forget_truth_ratio`` of TOFU.

    Returns:
        A number from 0 to 1.

    Raises:
        ValueError: if an argument is not in ``[0, 1]``.
    """
    parts = {
        "extraction_strength": extraction_strength,
        "exact_memorization": exact_memorization,
        "paraphrase_probability": paraphrase_probability,
        "truth_ratio": truth_ratio,
    }
    return harmonic_mean(1 - _share(name, value) for name, value in parts.items())


def auc_closeness(auc: float, auc_retain: float) -> float:
    """``min(AUC, AUC_retain) / max(AUC, AUC_retain)``: 1 if an attack does as well as on the retain model.

    Our reading: it reproduces the published privacy of the fine-tuned model. Other evaluations use
    ``1 - |AUC - AUC_retain| / AUC_retain``, which is the same as long as ``AUC <= AUC_retain``.

    Args:
        auc: :func:`~unlearn_pl.functional.auc` of an attack on the unlearned model.
        auc_retain: the same on the retain model (trained without the forget set).

    Returns:
        A number from 0 to 1; 1 if both are 0.

    Raises:
        ValueError: if an AUC is not in ``[0, 1]``.

    Example:
        >>> auc_closeness(1.0, 0.5)
        0.5
    """
    low, high = sorted([_share("auc", auc), _share("auc_retain", auc_retain)])
    if math.isnan(low) or math.isnan(high):
        return math.nan
    return low / high if high > 0 else 1.0


def privacy_score(aucs: Mapping[str, float], retain_aucs: Mapping[str, float]) -> float:
    """Harmonic mean of :func:`auc_closeness` over membership inference attacks; OpenUnlearning uses four.

    Args:
        aucs: attack (``loss``, ``zlib``, ``min_k``, ``min_k_plus_plus``) to AUC on the unlearned model.
        retain_aucs: the same on the retain model (trained without the forget set).

    Returns:
        A number from 0 to 1; 1 if every attack has the same AUC on both models.

    Raises:
        ValueError: if the attacks are not the same, there are none, or an AUC is not in ``[0, 1]``.
    """
    if aucs.keys() != retain_aucs.keys() or not aucs:
        raise ValueError(f"Both models need AUCs of the same attacks; got {sorted(aucs)} and {sorted(retain_aucs)}.")
    return harmonic_mean(auc_closeness(aucs[name], retain_aucs[name]) for name in sorted(aucs))


def utility_score(model_utility: float, fluency: float, target_utility: float | None = None) -> float:
    """``HM(model utility, fluency)``, divided by that of the target model (before unlearning) if given.

    Args:
        model_utility: TOFU's, see :func:`~unlearn_pl.functional.model_utility`.
        fluency: of the answers generated for forget questions; published numbers use a classifier.
        target_utility: value of this function for the target model, computed without this argument.

    Returns:
        A number from 0 to 1; also 1 for a model better than the target model.

    Raises:
        ValueError: if an argument is not in ``[0, 1]``, or ``target_utility`` is 0.
    """
    utility = harmonic_mean([_share("model_utility", model_utility), _share("fluency", fluency)])
    if target_utility is None:
        return utility
    if _share("target_utility", target_utility) == 0:
        raise ValueError("target_utility is 0, but must be positive: utility is divided by that of the target model.")
    ratio = utility / target_utility
    return min(ratio, 1.0) if not math.isnan(ratio) else math.nan


def overall_score(memorization: float, privacy: float, utility: float) -> float:
    """``HM(memorization, privacy, utility)``: 1 for a model that forgot, leaks no membership, and stays as useful.

    Args:
        memorization: :func:`memorization_score`.
        privacy: :func:`privacy_score`.
        utility: :func:`utility_score`.

    Returns:
        A number from 0 to 1.

    Raises:
        ValueError: if an argument is not in ``[0, 1]``.

    Example:
        >>> round(overall_score(memorization=0.589, privacy=0.952, utility=0.926), 3)
        0.784
    """
    parts = {"memorization": memorization, "privacy": privacy, "utility": utility}
    return harmonic_mean(_share(name, value) for name, value in parts.items())


def _share(name: str, value: float) -> float:
    """``value``, in ``[0, 1]`` up to rounding, or NaN."""
    if value < -ROUNDING or value > 1 + ROUNDING:
        raise ValueError(f"{name} must be between 0 and 1, but is {value}.")
    return value if math.isnan(value) else min(max(value, 0.0), 1.0)
