"""Metrics of the TOFU benchmark from length-normalized negative log-likelihoods (NLLs).

An NLL here is ``-log p(answer | question) / |answer|``: a mean over the answer's tokens, so that ``exp(-nll)`` is
the geometric mean of their probabilities. A NaN among the inputs makes the result NaN; it is never dropped.

References:
    Maini et al., "TOFU: A Task of Fictitious Unlearning for LLMs", COLM 2024, arXiv 2401.06121, section 2.2.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from unlearn_pl.functional.evaluation.aggregate import harmonic_mean

TruthRatioAverage = Literal["geometric", "arithmetic"]


def answer_probability(nll: Tensor) -> Tensor:
    """``p = exp(-nll)``, the probability of an answer to the power ``1 / |answer|``.

    Args:
        nll: ``[...]`` length-normalized NLL.

    Returns:
        ``[...]``; 0 where the NLL is infinite.

    Example:
        >>> answer_probability(torch.tensor([0.0, 1.0]))
        tensor([1.0000, 0.3679])
    """
    return (-nll).exp()


def probability_with_options(answer_nll: Tensor, option_nll: Tensor) -> Tensor:
    """``p / (p + sum_j p_j)``, the probability of the answer among itself and the wrong options.

    Args:
        answer_nll: ``[...]`` length-normalized NLL of the answer.
        option_nll: ``[..., n]`` the same of ``n`` wrong options.

    Returns:
        ``[...]``; NaN where every probability is 0.

    Example:
        >>> probability_with_options(torch.tensor(1.0), torch.tensor([1.0, 1.0, 1.0]))
        tensor(0.2500)
    """
    nll = torch.cat([answer_nll.unsqueeze(-1), option_nll], dim=-1)
    return (-nll).softmax(dim=-1)[..., 0]


def truth_ratio(para_nll: Tensor, perturbed_nll: Tensor, average: TruthRatioAverage = "geometric") -> Tensor:
    """``R = mean_j p(perturbed_j) / p(paraphrased)``: how likely wrong answers are, compared with the correct one.

    The geometric mean, ``R = exp(para_nll - mean_j perturbed_nll_j)``, is what TOFU's leaderboard and OpenUnlearning
    compute. The arithmetic mean, ``R = mean_j exp(-perturbed_nll_j) / exp(-para_nll)``, is the paper's formula.
    Model utility differs by .02 to .04 between them, so results of one are not comparable with the other's.

    Args:
        para_nll: ``[...]`` length-normalized NLL of the paraphrased answer.
        perturbed_nll: ``[..., n]`` the same of ``n`` perturbed, wrong answers.
        average: which mean to take over the probabilities of the perturbed answers.

    Returns:
        ``[...]`` in ``[0, inf]``; NaN where correct and wrong answers all have probability 0.

    Raises:
        ValueError: if there are no perturbed answers, or ``average`` is not one of the two.

    Example:
        >>> truth_ratio(torch.tensor(1.0), torch.tensor([2.0, 4.0]))
        tensor(0.1353)
    """
    count = perturbed_nll.shape[-1]
    if count == 0:
        raise ValueError("A truth ratio needs at least one perturbed answer; got none.")
    if average == "geometric":
        return (para_nll - perturbed_nll.mean(dim=-1)).exp()
    if average == "arithmetic":
        return (para_nll + (-perturbed_nll).logsumexp(dim=-1) - math.log(count)).exp()
    raise ValueError(f"average must be 'geometric' or 'arithmetic', but is {average!r}.")


def forget_truth_ratio(ratios: Tensor) -> Tensor:
    """``mean_i min(R_i, 1 / R_i)``: 1 if correct and wrong answers are equally likely.

    That is what to expect of a model that was never trained on the forget set.

    Args:
        ratios: ``[n]`` truth ratios of the forget set.

    Returns:
        ``[]`` in ``[0, 1]``.
    """
    return torch.minimum(ratios, 1 / ratios).mean()


def utility_truth_ratio(ratios: Tensor) -> Tensor:
    """``mean_i max(0, 1 - R_i)``: 1 if wrong answers are impossible, 0 if they are as likely as the correct one.

    Args:
        ratios: ``[n]`` truth ratios of a set that the model should know.

    Returns:
        ``[]`` in ``[0, 1]``.
    """
    return (1 - ratios).clamp(min=0).mean()


def forget_quality(ratios: Tensor | Sequence[float], retain_ratios: Tensor | Sequence[float]) -> float:
    """p-value of the two-sided two-sample Kolmogorov-Smirnov test between two models' truth ratios.

    High if the unlearned model cannot be distinguished from the retain model. The test depends on the order of the
    values alone, so inverting all ratios changes nothing; inverting those of one model does.

    Args:
        ratios: ``[n]`` truth ratios of the unlearned model on the forget set.
        retain_ratios: ``[m]`` truth ratios of the retain model on the same questions.

    Returns:
        A probability; NaN if a ratio is NaN.

    Raises:
        ValueError: if a sample is empty.

    Example:
        >>> forget_quality([0.1, 0.2, 0.3], [0.15, 0.25, 0.35])
        1.0
    """
    from scipy.stats import ks_2samp

    first, second = (torch.as_tensor(sample, dtype=torch.float64).cpu() for sample in (ratios, retain_ratios))
    if len(first) == 0 or len(second) == 0:
        raise ValueError(f"Forget quality needs truth ratios of both models; got {len(first)} and {len(second)}.")
    if first.isnan().any() or second.isnan().any():
        return math.nan
    return float(ks_2samp(first.numpy(), second.numpy()).pvalue)


def log10_forget_quality(quality: float) -> float:
    """``log10(quality)``, the scale on which forget quality is compared; -323.3 where the p-value underflowed to 0.

    Example:
        >>> log10_forget_quality(0.01)
        -2.0
    """
    smallest = math.ulp(0.0)
    return quality if math.isnan(quality) else math.log10(max(quality, smallest))


def model_utility(values: Tensor | Sequence[float]) -> float:
    """:func:`~unlearn_pl.functional.harmonic_mean` of TOFU's values; 0 if a value is 0.

    TOFU's nine values are the probability, the ROUGE-L recall and the truth ratio of the retain set, the real authors
    and the world facts.

    Args:
        values: ``[n]``, none negative.

    Returns:
        The mean; NaN if a value is NaN.

    Raises:
        ValueError: if there are no values, or one is negative.

    Example:
        >>> model_utility([1.0, 0.5])
        0.6666666666666666
    """
    return harmonic_mean(torch.as_tensor(values, dtype=torch.float64).tolist())
