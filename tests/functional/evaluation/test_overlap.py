import re
from functools import cache

import pytest
from rouge_score.rouge_scorer import RougeScorer

from unlearn_pl.functional import rouge_l_f1, rouge_l_recall

PAIRS = [
    ("The novel was published in Karlsby in 1948.", "It was published in 1948 in Karlsby, the novel."),
    ("Oda Lindqvist mostly writes about lighthouses", "Oda Lindqvist writing about a lighthouse and bees"),
    ("Yes.", "No."),
    ("Yes", "yes yes yes"),
    ("a b c d e f g", "g f e d c b a"),
]


def longest_common_subsequence(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    @cache
    def length(i: int, j: int) -> int:
        if i == len(a) or j == len(b):
            return 0
        return 1 + length(i + 1, j + 1) if a[i] == b[j] else max(length(i + 1, j), length(i, j + 1))

    return length(0, 0)


@pytest.mark.parametrize(("reference", "generated"), PAIRS)
def test_without_stemming_it_is_the_subsequence_by_definition(reference, generated):
    words = [tuple(re.findall(r"[a-z0-9]+", text.lower())) for text in (reference, generated)]
    expected = longest_common_subsequence(*words) / len(words[0])
    assert rouge_l_recall(reference, generated, use_stemmer=False) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("reference", "generated"), PAIRS)
@pytest.mark.parametrize("use_stemmer", [True, False])
def test_it_equals_the_package_that_published_numbers_were_made_with(reference, generated, use_stemmer):
    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=use_stemmer)
    expected = scorer.score(reference, generated)["rougeL"].recall
    assert rouge_l_recall(reference, generated, use_stemmer) == expected


def test_stemming_is_on_by_default():
    assert rouge_l_recall("four lighthouses", "four lighthouse") == 1
    assert rouge_l_recall("four lighthouses", "four lighthouse", use_stemmer=False) == 0.5


def test_identical_and_empty_texts():
    assert rouge_l_recall("The Salt Ledger", "The Salt Ledger") == 1
    assert rouge_l_recall("The Salt Ledger", "") == 0
    assert rouge_l_recall("", "The Salt Ledger") == 0
    assert rouge_l_recall("", "") == 0
    assert rouge_l_f1("The Salt Ledger", "The Salt Ledger") == 1
    assert rouge_l_f1("The Salt Ledger", "") == rouge_l_f1("", "The Salt Ledger") == rouge_l_f1("", "") == 0


@pytest.mark.parametrize(("reference", "generated"), PAIRS)
def test_the_f_measure_is_twice_the_subsequence_over_both_lengths(reference, generated):
    words = [tuple(re.findall(r"[a-z0-9]+", text.lower())) for text in (reference, generated)]
    expected = 2 * longest_common_subsequence(*words) / (len(words[0]) + len(words[1]))
    assert rouge_l_f1(reference, generated) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("reference", "generated"), PAIRS)
@pytest.mark.parametrize("use_stemmer", [True, False])
def test_the_f_measure_equals_the_package_and_is_symmetric(reference, generated, use_stemmer):
    scorer = RougeScorer(["rougeL"], use_stemmer=use_stemmer)
    assert rouge_l_f1(reference, generated, use_stemmer) == scorer.score(reference, generated)["rougeL"].fmeasure
    assert rouge_l_f1(generated, reference, use_stemmer) == pytest.approx(
        rouge_l_f1(reference, generated, use_stemmer), rel=1e-12
    )


def test_the_f_measure_has_no_stemmer_by_default_and_punishes_rambling():
    assert rouge_l_f1("four lighthouses", "four lighthouse") == 0.5
    assert rouge_l_f1("four lighthouses", "four lighthouse", use_stemmer=True) == 1
    assert rouge_l_f1("four lighthouses", "four lighthouses and more and more") == 0.5
