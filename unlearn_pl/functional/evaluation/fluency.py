"""Fluency: repetition in generated text, and perplexity.

Excessive unlearning ends in loops (``the the the``), empty answers, or random tokens. Published tables use a gibberish
classifier, which has to be downloaded. :func:`text_fluency` needs no model; it detects loops and empty answers. Random
tokens do not repeat: the :func:`perplexity` of a generated text under the reference model detects them.
"""

import re
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor


def repetition_rate(tokens: Sequence[Hashable], n: int = 4) -> float:
    """``1 - |distinct n-grams| / |n-grams|``, the share of n-grams that repeat an earlier one.

    Args:
        tokens: words or, better, token ids, which also reveal loops within a word.
        n: length of the n-grams. Four tokens in a row hardly ever recur in a good answer of a few sentences.

    Returns:
        A number in ``[0, 1)``; 0 for at most ``n`` tokens.

    Raises:
        ValueError: if ``n`` is below 1.

    Example:
        >>> repetition_rate("to be or not to be".split(), n=2)
        0.2

    References:
        Welleck et al., Neural Text Generation with Unlikelihood Training, ICLR 2020, arXiv 1908.04319 (seq-rep-n).
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, but is {n}.")
    ngrams = [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
    return (len(ngrams) - len(set(ngrams))) / len(ngrams) if ngrams else 0.0


def text_fluency(text: str, n: int = 4) -> float:
    """``|distinct n-grams| / |n-grams|`` over words and punctuation marks: 1 for text without repetition.

    It is not the ``fluency`` of OpenUnlearning, the probability that a classifier calls the text clean: random words
    score 1 here. Use it to compare models with each other, not with published numbers.

    Args:
        text: a generated text, without special tokens.
        n: length of the n-grams.

    Returns:
        A number in ``[0, 1]``; 0 for an empty or blank text, 1 for at most ``n`` words and marks.

    Raises:
        ValueError: if ``n`` is below 1.

    Example:
        >>> text_fluency("She was born in Karlsby."), text_fluency("the " * 7), text_fluency("")
        (1.0, 0.25, 0.0)
    """
    tokens = re.findall(r"\w+|[^\w\s]", text.lower())
    rate = repetition_rate(tokens, n)
    return 1 - rate if tokens else 0.0


def perplexity(nll: Tensor, num_tokens: Tensor) -> Tensor:
    """``exp(nll / N)`` of each sequence: the geometric mean of ``1 / p`` over its tokens.

    Args:
        nll: ``[...]`` summed NLL.
        num_tokens: ``[...]`` scored tokens ``N``.

    Returns:
        ``[...]`` fp64, at least 1; NaN where nothing is scored, infinite where a token is impossible.

    Example:
        >>> perplexity(torch.tensor([2.0, 4.0]).log(), torch.tensor([1, 2])).float()
        tensor([2., 2.])
    """
    return torch.exp(nll.double() / num_tokens)


def corpus_perplexity(nll: Tensor, num_tokens: Tensor) -> Tensor:
    """``exp(sum_i nll_i / sum_i N_i)`` over all tokens of a corpus; every token counts the same, not every sequence.

    Args:
        nll: ``[n]`` summed NLL of each sequence.
        num_tokens: ``[n]`` scored tokens ``N_i`` of each.

    Returns:
        ``[]`` fp64, at least 1; NaN where nothing is scored.
    """
    return perplexity(nll.double().sum(), num_tokens.sum())
