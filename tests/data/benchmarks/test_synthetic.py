from difflib import SequenceMatcher
from itertools import takewhile

import pytest

from unlearn_pl.data import SyntheticAuthors, SyntheticAuthorsDataModule

FACTS = SyntheticAuthors()
AUTHOR_SETS = {"forget": FACTS.forget, "retain": FACTS.retain, "holdout": FACTS.holdout}
GENERAL_SETS = {"real_authors": FACTS.real_authors, "world_facts": FACTS.world_facts}


def common(one: list[str], other: list[str]) -> int:
    """Number of words at the beginning that two texts share."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def test_every_set_has_at_least_a_hundred_questions():
    assert {name: len(rows) for name, rows in AUTHOR_SETS.items()} == {"forget": 100, "retain": 100, "holdout": 100}
    assert {name: len(rows) for name, rows in GENERAL_SETS.items()} == {"real_authors": 20, "world_facts": 20}


def test_questions_are_all_different():
    questions = [row["question"] for rows in (AUTHOR_SETS | GENERAL_SETS).values() for row in rows]

    assert len(set(questions)) == len(questions)


@pytest.mark.parametrize("name", AUTHOR_SETS)
def test_answers_have_the_form_of_tofu(name):
    for row in AUTHOR_SETS[name]:
        assert len(set(row["perturbed_answer"]) | {row["paraphrased_answer"], row["answer"]}) == 7
        assert row["paraphrased_question"] != row["question"]
        assert "{" not in "".join([row["question"], row["answer"], row["paraphrased_answer"], *row["perturbed_answer"]])
        assert 7 <= len(row["answer"].split()) <= 35
    lengths = {len(row["answer"].split()) for row in AUTHOR_SETS[name]}
    assert len(lengths) > 10


@pytest.mark.parametrize("name", AUTHOR_SETS)
def test_wrong_answers_are_the_paraphrase_with_one_fact_replaced(name):
    for row in AUTHOR_SETS[name]:
        answer, right = row["answer"].split(), row["paraphrased_answer"].split()
        assert SequenceMatcher(None, answer, right).ratio() > 0.6
        for wrong in (text.split() for text in row["perturbed_answer"]):
            before = common(right, wrong)
            after = common(right[:before:-1], wrong[:before:-1])
            assert 0 < len(right) - before - after <= 9  # the longest fact has 9 words
            assert before + after > 0


@pytest.mark.parametrize("name", GENERAL_SETS)
def test_general_facts_are_short_with_three_wrong_answers_and_no_paraphrase(name):
    for row in GENERAL_SETS[name]:
        assert "paraphrased_answer" not in row
        assert len({row["answer"], *row["perturbed_answer"]}) == 4
        assert len(row["answer"].split()) <= 6


def test_no_author_is_in_two_sets():
    names = {
        name: {row["answer"].rstrip(".").split(" is ")[-1] for row in rows if "full name" in row["question"]}
        for name, rows in AUTHOR_SETS.items()
    }
    names["real_authors"] = {row["answer"] for row in FACTS.real_authors}

    assert [len(group) for group in names.values()] == [10, 10, 10, 20]
    assert len(set.union(*names.values())) == 50
    read = str(FACTS.forget + FACTS.retain + FACTS.real_authors)
    assert not any(author in read for author in names["holdout"])


def test_sizes_leave_the_other_sets_as_they_are():
    small = SyntheticAuthors(forget_authors=2, general_facts=5)

    assert small.forget == FACTS.forget[:20]
    assert small.retain == FACTS.retain
    assert small.holdout == FACTS.holdout
    assert small.real_authors == FACTS.real_authors[:5]
    assert small.world_facts == FACTS.world_facts[:5]


def test_facts_depend_on_their_seed_alone():
    assert SyntheticAuthors(seed=0).forget == FACTS.forget
    assert SyntheticAuthors(seed=1).forget != FACTS.forget


def test_the_largest_sets_are_complete():
    largest = SyntheticAuthors(0, 70, 70, 70, 60)

    questions = [row["question"] for rows in (largest.forget, largest.retain, largest.holdout) for row in rows]
    assert len(set(questions)) == 2100
    assert len({row["question"] for row in largest.world_facts}) == 60


@pytest.mark.parametrize(
    ("sizes", "message"),
    [({"retain_authors": 71}, "retain_authors=71 must be between 1 and 70"), ({"general_facts": 0}, "general_facts=0")],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        SyntheticAuthors(**sizes)


def test_the_module_runs_without_anything_else():
    data = SyntheticAuthorsDataModule(streams=["forget", "forget.alternate", "retain", "holdout"])
    data.setup()

    assert {name: len(stream) for name, stream in data._training.items()} == {
        "forget": 100,
        "forget.alternate": 100,
        "retain": 100,
        "holdout": 100,
    }
    assert data.load_streams()["holdout"] == FACTS.holdout
    assert list(data.val_dataloader()) == ["forget", "retain", "real_authors", "world_facts"]
    assert len(data.tokenizer) <= 1024
    assert data.longest_sequence < 100


def test_what_a_model_is_fine_tuned_on():
    def questions(**options) -> set[str]:
        data = SyntheticAuthorsDataModule(streams=["train"], splits=["holdout"], vocab_size=300, **options)
        data.setup()
        return {row["question"] for row in data.load_streams()["train"]()}

    general = {row["question"] for rows in GENERAL_SETS.values() for row in rows}
    forget, retain = ({row["question"] for row in rows} for rows in (FACTS.forget, FACTS.retain))
    assert questions() == forget | retain | general
    assert questions(train_split="retain") == retain | general


def test_unknown_training_sets_are_refused():
    with pytest.raises(ValueError, match="train_split='half' is unknown; accepted are full, retain"):
        SyntheticAuthorsDataModule(train_split="half")


def test_texts_hold_everything_that_is_read():
    texts = set(FACTS.texts())

    for rows in (AUTHOR_SETS | GENERAL_SETS).values():
        for row in rows:
            assert {row["question"], row["answer"], *row["perturbed_answer"]} <= texts
