"""Pure tensor functions: log-probabilities, losses, and the solvers that combine gradients."""

from unlearn_pl.functional.dual_basis import dual_basis_weights
from unlearn_pl.functional.logprobs import entropy, masked_mean, sequence_log_probs, token_log_probs
from unlearn_pl.functional.losses import kl_divergence, uce_loss
from unlearn_pl.functional.min_norm import min_norm_weights
from unlearn_pl.functional.overlap import rouge_l_recall
from unlearn_pl.functional.tofu import (
    answer_probability,
    forget_quality,
    forget_truth_ratio,
    log10_forget_quality,
    model_utility,
    probability_with_options,
    truth_ratio,
    utility_truth_ratio,
)

__all__ = [
    "answer_probability",
    "dual_basis_weights",
    "entropy",
    "forget_quality",
    "forget_truth_ratio",
    "kl_divergence",
    "log10_forget_quality",
    "masked_mean",
    "min_norm_weights",
    "model_utility",
    "probability_with_options",
    "rouge_l_recall",
    "sequence_log_probs",
    "token_log_probs",
    "truth_ratio",
    "uce_loss",
    "utility_truth_ratio",
]
