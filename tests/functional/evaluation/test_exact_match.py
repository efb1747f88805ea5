"""Short answers are equal up to case, punctuation and articles; the overlap of words is the F-measure by hand."""

import pytest

from unlearn_pl.functional import exact_match, word_f1


@pytest.mark.parametrize(
    ("answers", "generated", "exact", "f1"),
    [
        (["The Salt Ledger"], "salt  ledger!", 1, 1),
        (["Maud", "Maud Vik"], "maud vik", 1, 1),
        (["Maud"], "Maud Vik", 0, 2 / 3),
        (["a b b"], "b b c c", 0, 2 * 2 / (2 + 4)),  # the article a does not count
        (["Oda"], "", 0, 0),
        (["the"], "", 1, 1),
        ([], "Oda", 0, 0),
        (["Theodora"], "odora", 0, 0),
    ],
)
def test_by_hand(answers, generated, exact, f1):
    assert exact_match(answers, generated) == exact
    assert word_f1(answers, generated) == pytest.approx(f1)
