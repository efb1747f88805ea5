"""Overlap of a generated text with a reference text (ROUGE-L)."""

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer


def rouge_l_recall(reference: str, generated: str, use_stemmer: bool = True) -> float:
    """``|LCS(reference, generated)| / |reference|`` over words: ROUGE-L recall.

    Words are lower-cased runs of letters and digits; LCS is the longest common subsequence.

    Args:
        reference: the correct text.
        generated: the text to score.
        use_stemmer: whether words that share a Porter stem are equal, as in TOFU's published numbers.

    Returns:
        A number from 0 to 1; 0 when either text has no words.

    Example:
        >>> rouge_l_recall("She wrote three novels", "she writes novels")
        0.5

    References:
        Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", ACL workshop 2004.
    """
    return float(_scorer(use_stemmer).score(reference, generated)["rougeL"].recall)


def rouge_l_f1(reference: str, generated: str, use_stemmer: bool = False) -> float:
    """``2 |LCS| / (|reference| + |generated|)`` over words: the F-measure of ROUGE-L, which also penalizes rambling.

    Words and LCS are those of :func:`rouge_l_recall`.

    Args:
        reference: the correct text.
        generated: the text to score.
        use_stemmer: whether words that share a Porter stem are equal. MUSE's authors do not use it, OpenUnlearning's
            numbers on MUSE do.

    Returns:
        A number from 0 to 1; 0 when either text has no words.

    Example:
        >>> rouge_l_f1("She wrote three novels", "she writes novels"), rouge_l_f1("one two", "two", use_stemmer=True)
        (0.5714285714285715, 0.6666666666666666)

    References:
        Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", ACL workshop 2004; Shi et al., MUSE,
        arXiv 2407.06460 (VerbMem and KnowMem).
    """
    return float(_scorer(use_stemmer).score(reference, generated)["rougeL"].fmeasure)


@lru_cache(maxsize=2)
def _scorer(use_stemmer: bool) -> "RougeScorer":
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=use_stemmer)
