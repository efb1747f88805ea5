"""How much of a reference text a generated text contains."""

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer


def rouge_l_recall(reference: str, generated: str, use_stemmer: bool = True) -> float:
    """``|LCS(reference, generated)| / |reference|`` over words: ROUGE-L recall.

    Words are lower-cased runs of letters and digits; LCS is the longest common subsequence.

    Args:
        reference: the right text.
        generated: the text to score.
        use_stemmer: whether words that share a Porter stem are equal. TOFU's published numbers have it on.

    Returns:
        A number from 0 to 1; 0 when either text has no words.

    Example:
        >>> rouge_l_recall("She wrote three novels", "she writes novels")
        0.5

    References:
        Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", ACL workshop 2004.
    """
    return float(_scorer(use_stemmer).score(reference, generated)["rougeL"].recall)


@lru_cache(maxsize=2)
def _scorer(use_stemmer: bool) -> "RougeScorer":
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=use_stemmer)
