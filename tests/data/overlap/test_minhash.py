"""Near duplicates against the Jaccard similarity itself, of all pairs of texts."""

import random
from itertools import pairwise

import numpy as np
import pytest

from unlearn_pl.data.overlap.hashes import duplicates_in, hashes_of, overlap_of
from unlearn_pl.data.overlap.minhash import SIMILAR, signatures_of, similar_to, similar_to_earlier

WORDS = [f"{c}{v}{e}" for c in "bdfgklmnprst" for v in "aeiou" for e in ("", "n", "rk", "st")]


def made_up(rng: random.Random, count: int) -> list[list[str]]:
    return [rng.choices(WORDS, k=rng.randint(20, 120)) for _ in range(count)]


def edited(rng: random.Random, text: list[str], changes: int) -> list[str]:
    """With some words replaced by others."""
    text = list(text)
    for position in rng.sample(range(len(text)), changes):
        text[position] = rng.choice(WORDS)
    return text


def jaccard(one: list[str], other: list[str]) -> float:
    mine, theirs = (set(pairwise(text)) for text in (one, other))
    return len(mine & theirs) / len(mine | theirs)


@pytest.fixture(scope="module")
def texts() -> list[list[str]]:
    """Texts, and others that differ from them in none to 60 % of the words, in a random order."""
    rng = random.Random(0)
    originals = made_up(rng, 60)
    copies = [
        edited(rng, text, round(len(text) * rng.choice((0, 0.02, 0.05, 0.1, 0.3, 0.6)))) for text in originals * 3
    ]
    together = originals + copies
    rng.shuffle(together)
    return together


@pytest.fixture(scope="module")
def similarity(texts):
    return np.array([[jaccard(one, other) for other in texts] for one in texts])


def test_agreement_estimates_the_jaccard_similarity(texts, similarity):
    signatures = signatures_of(texts)
    estimate = (signatures[:, None] == signatures[None]).mean(axis=-1)

    error = estimate - similarity
    assert np.abs(error).max() < 5 * 0.5 / np.sqrt(80)  # five standard errors at most
    close = (similarity > 0.3) & (similarity < 0.95)
    assert close.sum() > 100
    assert abs(error[close].mean()) < 0.01
    expected = np.sqrt((similarity * (1 - similarity))[close] / 80)
    assert 0.8 < np.sqrt((error[close] ** 2).mean()) / np.sqrt((expected**2).mean()) < 1.2


def test_what_is_found_is_what_all_pairs_show(texts, similarity):
    earlier = np.tril(similarity, k=-1).max(axis=1)
    found = similar_to_earlier(signatures_of(texts))

    # Between .65 and .95 the estimate may be on the other side of the threshold.
    assert found[earlier >= 0.95].all()
    assert not found[earlier < 0.65].any()
    sure = np.abs(earlier - SIMILAR) > 0.09
    assert (found == (earlier >= SIMILAR))[sure].mean() > 0.98
    assert 30 < found.sum() < 150

    half = len(texts) // 2
    across = similarity[half:, :half].max(axis=1)
    found = similar_to(signatures_of(texts[half:]), signatures_of(texts[:half]))
    assert found[across >= 0.95].all()
    assert not found[across < 0.65].any()
    assert found.sum() > 20


def test_hashes_are_the_same_everywhere():
    # Written down once: caches of tokenized documents hold these numbers.
    assert signatures_of([["maud", "keeps", "the", "mill"]])[0, :4].tolist() == [50522, 29347, 31321, 36773]


def test_neither_blocks_nor_the_order_of_texts_matter(texts, monkeypatch):
    whole = signatures_of(texts)
    monkeypatch.setattr("unlearn_pl.data.overlap.minhash._BLOCK", 150)
    monkeypatch.setattr("unlearn_pl.data.overlap.minhash._ROWS", 7)
    assert np.array_equal(signatures_of(texts), whole)
    assert np.array_equal(signatures_of(texts[::-1]), whole[::-1])
    assert len(similar_to_earlier(whole)) == len(texts)
    assert signatures_of([]).shape == (0, 80)
    assert not similar_to(whole[:0], whole).size
    assert not similar_to(whole, whole[:0]).any()


def test_many_texts_that_are_nearly_the_same_take_no_longer(texts):
    rng = random.Random(1)
    original = rng.choices(WORDS, k=120)
    same = signatures_of([edited(rng, original, 1) for _ in range(5000)])
    found = similar_to_earlier(same)
    assert not found[0]
    assert found.mean() > 0.99
    assert similar_to(same, signatures_of([original])).mean() > 0.99


def test_a_word_among_twenty_is_reported():
    rng = random.Random(2)
    originals = [" ".join(text) for text in made_up(rng, 12)]
    changed = [edited(rng, text.split(), 1) for text in originals[:5]]
    near = [" ".join(text).capitalize() + "!" for text in changed]
    close = sum(jaccard(text.split(), other) >= 0.95 for text, other in zip(originals, changed, strict=False))
    others = [" ".join(text) for text in made_up(rng, 7)]

    sentence = overlap_of(hashes_of(originals), hashes_of([*others, originals[7], originals[8].upper(), *near]))
    assert close >= 2
    counted = int(sentence.split(" of ")[0]) - 2
    assert close <= counted <= 5
    assert "of the 14 rows of retain are also in forget (1 of them exactly, 1 up to case" in sentence
    assert f"{counted} with about 80% of the pairs of neighboring words or more in common" in sentence
    repeated = duplicates_in(hashes_of([*originals, *near, originals[0]]), "forget")
    assert repeated.startswith(f"{counted + 1} of the 18 rows of forget repeat an earlier one (1 of them exactly, 0 up")
    assert duplicates_in(hashes_of(originals), "forget") is None
