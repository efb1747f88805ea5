"""Leaks among k of n samples equal the mean over all subsets, and cores of answers are what the rule says."""

import itertools
import math
import statistics

import pytest
import torch

from unlearn_pl.functional import core_span, expected_maximum, leak_at_k, repeats_span


@pytest.mark.parametrize("samples", [1, 2, 5, 7])
def test_leak_at_k_is_the_mean_over_subsets(samples):
    for leaks, k in itertools.product(range(samples + 1), range(1, samples + 1)):
        drawn = [1.0] * leaks + [0.0] * (samples - leaks)
        brute = statistics.fmean(max(subset) for subset in itertools.combinations(drawn, k))
        assert leak_at_k(torch.tensor(leaks), samples, k).item() == pytest.approx(brute, abs=1e-12)


def test_leak_at_k_by_hand():
    # 2 of 5 leak: 1 - C(3, 2) / C(5, 2) = 7/10; with 4 of them drawn, one must be among them
    assert leak_at_k(torch.tensor([[2], [0]]), 5, 2).tolist() == [[pytest.approx(0.7)], [0.0]]
    assert leak_at_k(torch.tensor(2), 5, 4).item() == 1.0
    assert leak_at_k(torch.tensor(100), 200, 1).item() == 0.5
    assert 0 < leak_at_k(torch.tensor(1), 200, 128).item() == pytest.approx(0.64)


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_the_expected_maximum_is_the_mean_over_subsets(k):
    scores = torch.tensor([[0.3, 0.1, 0.9, 0.3, 0.0, 0.55], [0.0, 1.0, 1.0, 0.0, 0.0, 0.0]])
    brute = [statistics.fmean(map(max, itertools.combinations(row, k))) for row in scores.tolist()]
    assert expected_maximum(scores, k).tolist() == pytest.approx(brute, abs=1e-7)
    assert expected_maximum(scores, k)[1].item() == pytest.approx(leak_at_k(torch.tensor(2), 6, k).item())
    assert math.isnan(expected_maximum(torch.tensor([0.1, math.nan]), 1).item())


@pytest.mark.parametrize("k", [0, -1, 5])
def test_more_draws_than_samples_raise(k):
    with pytest.raises(ValueError, match=f"k={k} with 4 .* accepted are 1 to 4"):
        leak_at_k(torch.tensor(1), 4, k)
    with pytest.raises(ValueError, match=f"k={k} with 4 .* accepted are 1 to 4"):
        expected_maximum(torch.rand(3, 4), k)


@pytest.mark.parametrize("leaks", [-1, 5, 0.5])
def test_impossible_counts_raise(leaks):
    with pytest.raises(ValueError, match="integers from 0 to samples=4"):
        leak_at_k(torch.tensor(leaks), 4, 1)


@pytest.mark.parametrize(
    ("question", "answer", "core"),
    [
        ("Who is the mayor of Tarn?", "The mayor of Tarn is Oda Lind.", "Oda Lind"),
        ("When was Oda born?", "Oda was born on 5 May 1948.", "5 May 1948"),
        ("What did Oda win?", "Oda won the Salt Prize, twice.", "Salt Prize, twice"),
        ("Is it so?", "It is so.", "It is so."),  # says nothing new
        ("Which book is the first, the second?", "First Lind, second Vik", "Vik"),  # the last of equals
        ("谁?", "奥达", "奥达"),
    ],
)
def test_the_core_is_the_longest_new_run(question, answer, core):
    first, end = core_span(question, answer)
    assert answer[first:end] == core


def test_an_empty_answer_has_no_core():
    with pytest.raises(ValueError, match="is empty"):
        core_span("Who?", " ")


@pytest.mark.parametrize(
    ("text", "span", "found"),
    [
        ("It was ODA, Lind!", "Oda Lind", True),
        ("Oda B. Lind", "Oda Lind", False),
        ("Odaline", "Oda", False),
        ("in 1948.", "1948", True),
        ("", "Oda", False),
        ("yes?!", "?!", True),
        ("yes", "?!", False),
    ],
)
def test_repeated_spans(text, span, found):
    assert repeats_span(text, span) == found
