"""What relearning attacks train on."""

import json

import pytest

from tests.robustness.subjects import authors, subject
from unlearn_pl.data import QuestionAnswers, TextDataModule
from unlearn_pl.robustness import BenignNeighbours, RandomFraction, Relearning, ShortestFraction, UnrelatedText


def test_a_random_part_depends_on_the_seed_alone(folder):
    chosen = {seed: RandomFraction(0.3).select(subject(folder, seed=seed)).shown for seed in range(20)}
    again = RandomFraction(0.3).select(subject(folder, seed=7))
    assert again.shown == chosen[7]
    assert all(len(set(shown)) == 3 for shown in chosen.values())
    assert {i for shown in chosen.values() for i in shown} == set(range(10))
    rows = authors().facts.forget
    assert again.stream == [rows[i] for i in again.shown]


def test_shortest_rows_have_the_fewest_tokens(folder):
    given = subject(folder)
    selection = ShortestFraction(0.4).select(given)
    lengths = [len(given.tokenizer(row["answer"])["input_ids"]) for row in given.data.facts.forget]
    others = [lengths[i] for i in range(10) if i not in selection.shown]
    assert len(selection.shown) == 4
    assert max(lengths[i] for i in selection.shown) <= min(others)
    assert len(set(lengths)) > 3


def test_benign_neighbors_share_the_most_words(folder):
    given = subject(folder)
    facts = given.data.facts
    selection = BenignNeighbours(0.3).select(given)

    def words(row):
        return set(
            "".join(c if c.isalnum() or c == "_" else " " for c in f"{row['question']} {row['answer']}").lower().split()
        )

    def closeness(row):
        return max(len(words(row) & words(f)) / len(words(row) | words(f)) for f in facts.forget)

    chosen = [row["question"] for row in selection.stream]
    left = [row for row in facts.retain if row["question"] not in chosen]
    assert len(chosen) == 3
    assert min(closeness(row) for row in selection.stream) >= max(map(closeness, left))
    assert not selection.shown


def test_attacks_choose_from_all_rows_of_a_file_however_few_are_evaluated(folder, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"question": f"Why {x}?", "answer": f"{x} it is."}) + "\n" for x in "abcde"))
    given = subject(folder, data=TextDataModule(forget=str(path), max_eval_examples=2), retain_split=None)
    assert len(RandomFraction(0.8).select(given).stream) == 4
    assert len(given.splits["forget"]) == 2
    assert given.data.max_eval_examples == 2


def test_rows_without_words_have_no_neighbors(folder, tmp_path):
    rows = [{"question": "?", "answer": "!"}, {"question": "? ?", "answer": "!"}]
    for name, of_file in (("forget", rows[:1]), ("retain", rows)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in of_file))
    data = TextDataModule(forget=str(tmp_path / "forget.jsonl"), retain=str(tmp_path / "retain.jsonl"))
    assert [row["question"] for row in BenignNeighbours(1.0).select(subject(folder, data=data)).stream] == ["?"]


def test_unrelated_text_is_a_file_or_a_source(folder, tmp_path):
    path = tmp_path / "recipes.jsonl"
    path.write_text(
        "".join(json.dumps({"question": f"How much {x}?", "answer": f"{x} is enough."}) + "\n" for x in "ab")
    )
    for text in (str(path), QuestionAnswers(str(path))):
        found = Relearning(UnrelatedText(text), steps=1, evaluate_every=1, batch_size=2, answers=False).run(
            subject(folder)
        )
        assert found.curve["step"] == [0, 1]
        assert not any(name.startswith("shown") for name in found.after)


@pytest.mark.parametrize("choose", [RandomFraction, ShortestFraction, BenignNeighbours])
def test_a_part_without_a_row_is_refused_before_any_model_is_loaded(choose, folder):
    with pytest.raises(ValueError, match=r"fraction=0.05 of 10 forget rows selects none; accepted are 0.1 and more"):
        Relearning(choose(0.05)).check(subject(folder))
    for fraction in (0.0, 1.5, -1):
        with pytest.raises(ValueError, match="accepted is a number in"):
            choose(fraction)


def test_other_refusals(folder, tmp_path):
    few = subject(folder, retain_split="world_facts")
    with pytest.raises(ValueError, match="selects 5 retain rows, but there are 1"):
        Relearning(BenignNeighbours(0.5)).check(few)
    with pytest.raises(ValueError, match="nowhere"):
        Relearning(UnrelatedText(str(tmp_path / "nowhere.jsonl"))).check(subject(folder))
    with pytest.raises(ValueError, match="batch_size=3 is not a multiple of micro_batch_size=2"):
        Relearning(batch_size=3, micro_batch_size=2).check(subject(folder))
    with pytest.raises(ValueError, match="micro_batch_size=0 must be at least 1"):
        Relearning(micro_batch_size=0).check(subject(folder))
