"""Overlap of a generated text with a reference text (ROUGE-L)."""

from functools import lru_cache
from typing import TYPE_CHECKING

from unlearn_pl.functional.evaluation.words import ScriptTokenizer, is_lost_in_ascii

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer


def rouge_l_recall(reference: str, generated: str, use_stemmer: bool = True) -> float:
    """``|LCS(reference, generated)| / |reference|`` over words: ROUGE-L recall.

    LCS is the longest common subsequence. Words are those of the package ``rouge-score``, lower-cased runs of ASCII
    letters and digits (of ``García`` it keeps ``garc`` and ``a``, as in published numbers), unless a word of either
    text has none of these: then the words of both are, after the normal form NFKC, lower-cased runs of letters and
    digits of any script with their marks, and single characters in scripts that put no spaces between words (Chinese,
    Japanese, Thai, Lao, Khmer, Burmese, Tibetan). Stems are those of ASCII words only.

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
    return float(_scorer(reference, generated, use_stemmer).score(reference, generated)["rougeL"].recall)


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
    return float(_scorer(reference, generated, use_stemmer).score(reference, generated)["rougeL"].fmeasure)


def _scorer(reference: str, generated: str, use_stemmer: bool) -> "RougeScorer":
    any_script = is_lost_in_ascii(reference) or is_lost_in_ascii(generated)
    return _scorer_in_any_script(use_stemmer) if any_script else _scorer_of_ascii(use_stemmer)


@lru_cache(maxsize=2)
def _scorer_of_ascii(use_stemmer: bool) -> "RougeScorer":
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=use_stemmer)


@lru_cache(maxsize=2)
def _scorer_in_any_script(use_stemmer: bool) -> "RougeScorer":
    from nltk.stem.porter import PorterStemmer
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], tokenizer=ScriptTokenizer(PorterStemmer() if use_stemmer else None))
