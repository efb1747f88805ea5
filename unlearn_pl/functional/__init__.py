"""Pure tensor functions: log-probabilities, losses, metrics, and the solvers that combine gradients."""

from unlearn_pl.functional.diffusion import ddim_step, denoising_error, esd_target, q_sample
from unlearn_pl.functional.evaluation.aggregate import (
    auc_closeness,
    harmonic_mean,
    memorization_score,
    overall_score,
    privacy_score,
    utility_score,
)
from unlearn_pl.functional.evaluation.bootstrap import bootstrap_interval
from unlearn_pl.functional.evaluation.classification import confidence_attack, modified_entropy
from unlearn_pl.functional.evaluation.compat import Compat
from unlearn_pl.functional.evaluation.exact_match import exact_match, word_f1
from unlearn_pl.functional.evaluation.fluency import corpus_perplexity, perplexity, repetition_rate, text_fluency
from unlearn_pl.functional.evaluation.leakage import expected_maximum, leak_at_k
from unlearn_pl.functional.evaluation.likelihood_ratio import likelihood_ratio_attack, logit_confidence
from unlearn_pl.functional.evaluation.membership import (
    auc,
    gradient_norm_attack,
    log_prob_moments,
    loss_attack,
    min_k,
    min_k_plus_plus,
    priv_leak,
    reference_attack,
    zlib_attack,
)
from unlearn_pl.functional.evaluation.memorization import exact_memorization, extraction_strength, greedy_matches
from unlearn_pl.functional.evaluation.multiple_choice import choice_correct, chosen_options, multiple_choice_accuracy
from unlearn_pl.functional.evaluation.overlap import rouge_l_f1, rouge_l_recall
from unlearn_pl.functional.evaluation.spans import core_span, repeats_span
from unlearn_pl.functional.evaluation.tofu import (
    answer_probability,
    forget_quality,
    forget_truth_ratio,
    log10_forget_quality,
    model_utility,
    probability_with_options,
    truth_ratio,
    utility_truth_ratio,
)
from unlearn_pl.functional.evaluation.unlearning_depth import unlearning_depth
from unlearn_pl.functional.example_random import ExampleRandom
from unlearn_pl.functional.logprobs import entropy, label_log_probs, masked_mean, sequence_log_probs, token_log_probs
from unlearn_pl.functional.losses.contrastive import info_nce
from unlearn_pl.functional.losses.distribution import (
    cycled_labels,
    inverted_hinge_loss,
    js_divergence,
    kl_from_uniform,
    kl_to_uniform,
    logit_margin_loss,
    one_hot_js_divergence,
    skewed_kl_divergence,
    undial_loss,
    unilogit_loss,
)
from unlearn_pl.functional.losses.f_divergence import FDivergence, flat_losses, mean_probability
from unlearn_pl.functional.losses.preference import dpo_loss, kto_loss, npo_loss, simnpo_loss
from unlearn_pl.functional.losses.representation import (
    control_vector,
    hidden_distance,
    hidden_overlap,
    hidden_state_error,
    steering_target,
)
from unlearn_pl.functional.losses.token import kl_divergence, uce_loss
from unlearn_pl.functional.losses.weighted_token import ceu_loss, satimp_loss, tnpo_loss, wga_loss, wtnpo_loss
from unlearn_pl.functional.solvers.dual_basis import dual_basis_weights
from unlearn_pl.functional.solvers.dual_cone import dual_cone_projection
from unlearn_pl.functional.solvers.min_norm import min_norm_weights
from unlearn_pl.functional.solvers.rescale import Rescale, rescale_weights
from unlearn_pl.functional.top_k import TopK, complete_top_k, top_k_log_probs

__all__ = [
    "Compat",
    "ExampleRandom",
    "FDivergence",
    "Rescale",
    "TopK",
    "answer_probability",
    "auc",
    "auc_closeness",
    "bootstrap_interval",
    "ceu_loss",
    "choice_correct",
    "chosen_options",
    "complete_top_k",
    "confidence_attack",
    "control_vector",
    "core_span",
    "corpus_perplexity",
    "cycled_labels",
    "ddim_step",
    "denoising_error",
    "dpo_loss",
    "dual_basis_weights",
    "dual_cone_projection",
    "entropy",
    "esd_target",
    "exact_match",
    "exact_memorization",
    "expected_maximum",
    "extraction_strength",
    "flat_losses",
    "forget_quality",
    "forget_truth_ratio",
    "gradient_norm_attack",
    "greedy_matches",
    "harmonic_mean",
    "hidden_distance",
    "hidden_overlap",
    "hidden_state_error",
    "info_nce",
    "inverted_hinge_loss",
    "js_divergence",
    "kl_divergence",
    "kl_from_uniform",
    "kl_to_uniform",
    "kto_loss",
    "label_log_probs",
    "leak_at_k",
    "likelihood_ratio_attack",
    "log10_forget_quality",
    "log_prob_moments",
    "logit_confidence",
    "logit_margin_loss",
    "loss_attack",
    "masked_mean",
    "mean_probability",
    "memorization_score",
    "min_k",
    "min_k_plus_plus",
    "min_norm_weights",
    "model_utility",
    "modified_entropy",
    "multiple_choice_accuracy",
    "npo_loss",
    "one_hot_js_divergence",
    "overall_score",
    "perplexity",
    "priv_leak",
    "privacy_score",
    "probability_with_options",
    "q_sample",
    "reference_attack",
    "repeats_span",
    "repetition_rate",
    "rescale_weights",
    "rouge_l_f1",
    "rouge_l_recall",
    "satimp_loss",
    "sequence_log_probs",
    "simnpo_loss",
    "skewed_kl_divergence",
    "steering_target",
    "text_fluency",
    "tnpo_loss",
    "token_log_probs",
    "top_k_log_probs",
    "truth_ratio",
    "uce_loss",
    "undial_loss",
    "unilogit_loss",
    "unlearning_depth",
    "utility_score",
    "utility_truth_ratio",
    "wga_loss",
    "word_f1",
    "wtnpo_loss",
    "zlib_attack",
]
