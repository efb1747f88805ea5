import math
import random

import numpy as np
import pytest
import torch
from scipy import stats

from unlearn_pl.functional import corpus_perplexity, perplexity, repetition_rate, text_fluency

ANSWER = "Oda Lindqvist was born in Karlsby. She wrote four novels about lighthouses, and one about bees."


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 60])
def test_it_is_the_share_of_repeated_ngrams(n, length):
    tokens = [random.Random(length).randrange(3) for _ in range(length)]
    starts = range(max(0, length - n + 1))
    repeats = [any(tokens[i : i + n] == tokens[j : j + n] for j in range(i)) for i in starts]
    expected = sum(repeats) / len(repeats) if repeats else 0
    assert repetition_rate(tokens, n) == pytest.approx(expected, abs=1e-12)


def test_loops_of_any_period_are_found():
    for period in (1, 2, 5, 9):
        tokens = list(range(period)) * 30
        assert repetition_rate(tokens) == pytest.approx(1 - period / (30 * period - 3))
    assert repetition_rate(range(100)) == 0


def test_fluency_orders_answers_loops_and_silence():
    half = ANSWER + " It is it is it is it is it is it is it is it is."
    assert text_fluency(ANSWER) == 1
    assert 0.3 < text_fluency(half) < 0.9
    assert text_fluency("the " * 200) < 0.01
    assert text_fluency(":" * 200) < 0.01
    assert text_fluency("") == text_fluency(" \n\t") == 0


def test_case_and_white_space_do_not_matter_and_short_texts_pass():
    assert text_fluency("Tick TOCK\n tick tock tick  tock tick tock", n=2) == pytest.approx(2 / 7)
    assert text_fluency("Yes.") == text_fluency("1948") == 1


def test_order_of_tokens_matters_backwards_it_does_not():
    tokens = ANSWER.split() + ANSWER.split()[:5]
    assert repetition_rate(tokens) == repetition_rate(tokens[::-1]) > 0


@pytest.mark.parametrize("function", [repetition_rate, text_fluency])
def test_ngrams_have_a_length(function):
    with pytest.raises(ValueError, match="n must be at least 1, but is 0"):
        function("a b c", n=0)


def test_perplexity_is_the_geometric_mean_of_inverse_probabilities():
    rng = np.random.default_rng(0)
    probabilities = [rng.uniform(0.01, 1, size) for size in (1, 4, 9)]
    nll = torch.tensor([-np.log(p).sum() for p in probabilities], dtype=torch.float64)
    count = torch.tensor([len(p) for p in probabilities])
    np.testing.assert_allclose(perplexity(nll, count), [stats.gmean(1 / p) for p in probabilities], rtol=1e-12)
    whole = stats.gmean(1 / np.concatenate(probabilities))
    assert corpus_perplexity(nll, count).item() == pytest.approx(whole, rel=1e-12)
    assert corpus_perplexity(nll.flip(0), count.flip(0)).item() == pytest.approx(whole, rel=1e-12)
    assert perplexity(nll, count).mean().item() != pytest.approx(whole, rel=1e-3)


def test_perplexity_of_nothing_of_impossible_tokens_and_of_nan():
    nll, count = torch.tensor([0.0, math.inf, math.nan, 0.0]), torch.tensor([0, 3, 3, 3])
    assert perplexity(nll, count).tolist() == pytest.approx([math.nan, math.inf, math.nan, 1], nan_ok=True)
    assert corpus_perplexity(nll[[0, 3]], count[[0, 3]]) == 1  # a sequence without tokens counts for nothing
    assert corpus_perplexity(nll[:2], count[:2]) == math.inf
    assert corpus_perplexity(nll[2:], count[2:]).isnan()
    assert corpus_perplexity(torch.empty(0), torch.empty(0, dtype=torch.int64)).isnan()
