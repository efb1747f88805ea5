"""Definitions of metrics that several evaluations share, in a sentence or two."""

from collections.abc import Mapping

DEFINITIONS: Mapping[str, str] = {
    "*_low": "Lower end of the bootstrap interval of the metric of the same name.",
    "*_high": "Upper end of the bootstrap interval of the metric of the same name.",
    "*_stderr": "Standard error of the metric of the same name.",
    "*_exact_memorization": "Share of the tokens of the answer that greedy decoding gets right, each after the correct "
    "tokens before it; mean over the questions. 1 means that the answer is given word for word.",
    "*_extraction_strength": "Share of the answer, counted from its end, that greedy decoding completes from the "
    "rest; mean over the questions. 1 means that the question alone is enough.",
    "*_truth_ratio": "Probability of wrong answers, relative to that of a paraphrase of the correct one. On the forget "
    "set, the mean of min(r, 1/r): 1 if the model does not tell them apart. On other sets, the mean of max(0, 1 - r): "
    "high if the model prefers the correct answer.",
    "*_probability": "Probability of the correct answer: exp of the mean log-probability of its tokens, mean over the "
    "questions. Where there are several candidates, the share of the correct one.",
    "*_rouge": "ROUGE-L recall of the generated answer: share of the words of the correct answer that are in it, in "
    "the same order; mean over the questions.",
    "*_fluency": "Share of different word sequences in the generated answers; low if they repeat themselves.",
    "log10_forget_quality": "Logarithm to base 10 of the forget quality.",
    "forget_quality": "p-value of a Kolmogorov-Smirnov test between the truth ratios of this model and those of the "
    "retain model on the forget set. Above 0.05, the test does not tell the two apart.",
    "model_utility": "Harmonic mean of probability, ROUGE and truth ratio on the retain set, real authors and world "
    "facts.",
    "memorization": "Harmonic mean of 1 minus what is left of the forget set in several measures; 1 for a model that "
    "has forgotten.",
    "utility": "Harmonic mean of model utility and fluency of the forget answers.",
    "privacy": "How close the membership attacks are to their values on the retain model; 1 is as close as can be.",
    "overall": "Harmonic mean of memorization, privacy and utility.",
    "auc_*": "Area under the ROC curve of a membership attack, of the forget set against rows that no model was "
    "trained on: 0.5 is chance, and the value of the retain model is the target.",
    "privleak": "AUC of Min-K% relative to that of the retain model, in percent; 0 is the retain model's. Negative "
    "values under-unlearn, positive ones over-unlearn.",
    "*_leak_at_*": "Chance that at least one of k sampled answers leaks, mean over the questions.",
    "*_best_of_*": "Expected largest score of k sampled answers, mean over the questions.",
    "*_uds": "Share of the knowledge in the layers of the full model that is gone, by activation patching.",
    "*_encoded": "Share of the questions that some layer holds.",
    "*_refusal_rate": "Share of the generated answers that refuse, by rule.",
    "*_perplexity": "exp of the mean loss per token.",
    "*_entropy": "Mean entropy of the predicted classes.",
    "*_accuracy": "Share of the examples that are answered or classified correctly.",
    "*_exact_match": "Share of the questions whose generated answer is the correct one.",
}
"""Pattern of names of metrics to its definition; the first that matches counts."""
