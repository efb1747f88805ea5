# ruff: noqa: RUF001 (letters of other scripts look like Latin ones)

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


SCRIPTS = {
    "russian": "Мельницу держит Мод Феррье с прошлой весны.",
    "greek": "Ο μύλος του Ταρν",
    "arabic": "المطحنة في الشمال",
    "hebrew": "הטחנה בצפון",
    "hindi": "चक्की उत्तर में है",
    "bengali": "কলটি উত্তরে",
    "korean": "방앗간은 북쪽에 있다",
    "chinese": "磨坊在北方。",
    "japanese": "粉屋は北にあります",
    "thai": "โรงสีอยู่ทางเหนือ",
    "georgian": "წისქვილი ჩრდილოეთშია",
    "vietnamese": "Ở đó à?",
    "one letter": "é",
    "full width": "１９４８",
    "old italic": "𐌀𐌁𐌂",
}


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("use_stemmer", [True, False])
def test_identical_texts_score_one_in_any_script(text, use_stemmer):
    assert rouge_l_recall(text, text, use_stemmer) == rouge_l_f1(text, text, use_stemmer) == 1
    assert rouge_l_recall(text, f"{text} lighthouse", use_stemmer) == 1
    assert rouge_l_recall(f"{text} {text}", text, use_stemmer) == 0.5
    assert rouge_l_recall(text, "lighthouse", use_stemmer) == rouge_l_recall("lighthouse", text, use_stemmer) == 0


@pytest.mark.parametrize(
    ("reference", "generated", "recall"),
    [
        ("Мод держит мельницу весной", "мод держит ЗИМОЙ мельницу", 3 / 4),
        ("磨坊在北方", "磨坊在南方", 4 / 5),  # characters, since there are no spaces
        ("ที่นี่", "ที่", 1 / 2),  # vowel signs and tones belong to their consonants
        ("हिन्दी में", "हिन्द में", 1 / 2),
        ("Ο Jos\u00e9 γράφει", "ο Jose\u0301 γράφει", 1),  # composed and decomposed accents
        ("Мод keeps four lighthouses", "мод keeping four lighthouse", 1),  # English words have their stems
    ],
)
def test_parts_of_texts_in_other_scripts(reference, generated, recall):
    assert rouge_l_recall(reference, generated) == pytest.approx(recall, rel=1e-12)


@pytest.mark.parametrize("use_stemmer", [True, False])
@pytest.mark.parametrize(
    "pair",
    [
        ("“The Salt Ledger” isn’t García Márquez’s – it’s Brontë’s", "The Salt Ledger isn't Garcia's; it’s Bronte's…"),
        ("A naïve café at 30 °C, for €5", "naive cafes — 30° & 5€"),
    ],
)
def test_english_with_typographic_signs_and_accents_has_the_numbers_of_the_package(pair, use_stemmer):
    expected = RougeScorer(["rougeL"], use_stemmer=use_stemmer).score(*pair)["rougeL"]

    assert rouge_l_recall(*pair, use_stemmer) == expected.recall
    assert rouge_l_f1(*pair, use_stemmer) == expected.fmeasure
