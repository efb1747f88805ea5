"""Reversed and two-hop questions, forget rows in the context, and questions in other letters."""

import json
import random
import re
from pathlib import Path

import pytest

from tests.robustness.attacks.test_relearning import probability
from tests.robustness.subjects import authors, make_folder, subject
from unlearn_pl.data import AugmentedQuestions, Row, TextDataModule
from unlearn_pl.data.evaluation.evaluation_row import Question
from unlearn_pl.robustness import (
    Audit,
    BenignNeighbours,
    FewShotPrompts,
    InContextRelearning,
    MultiHopQuestions,
    RandomFraction,
    ReversedQuestions,
    ViewAttack,
)
from unlearn_pl.robustness.attacks.prompts.entities import BLANK, entities, statement, without_entity

ADA = [
    Row(question="Where was Ada de Vries born?", answer="Ada de Vries was born in Rome."),
    Row(question="What does Ada de Vries write?", answer="She writes poems about Rome, says Vries."),
    Row(question="Is Rome old?", answer="Yes."),
    Row(question="why not?", answer="Nothing here has a name at all."),
]


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("Where was Ada de Vries born?", "Ada de Vries"),
        ("What is Ada's mother called?", "Ada"),
        ("Ada Lovelace wrote what?", "Ada Lovelace"),
        ("Did Basil Mahfouz Al-Kuwaiti win?", "Basil Mahfouz Al-Kuwaiti"),
        ("what now?", None),
        ("Why?", None),
    ],
)
def test_names_are_words_with_capitals(question, name):
    assert entities([Row(question=question, answer="so")]) == [name]


def test_the_name_of_most_rows_is_meant():
    rows = [*ADA[:2], Row(question="Was Ada de Vries in Montevideo and Porto Alegre?", answer="Yes.")]
    assert entities(rows) == ["Ada de Vries"] * 3
    assert entities([Row(question=[{"role": "user", "content": "Who is Ada?"}], answer="A poet.")]) == [None]


def test_statements_hide_the_whole_name_and_say_something():
    assert statement(ADA[0], "Ada de Vries") == f"{BLANK} was born in Rome."
    assert statement(ADA[1], "Ada de Vries") == f"She writes poems about Rome, says {BLANK}."
    assert statement(ADA[2], "Rome") is None
    assert without_entity("Ada de Vries and Adam", "Ada de Vries") == f"{BLANK} and Adam"


def test_reversed_questions_ask_for_the_name_and_two_hops_describe_it():
    names = entities(ADA)
    turned = ReversedQuestions().rewritten(ADA, names, 0)
    assert [row["answer"] for row in turned] == ["Ada de Vries", "Ada de Vries"]
    assert all("Ada" not in row["question"] and "Vries" not in row["question"] for row in turned)
    hops = MultiHopQuestions().rewritten(ADA, names, 0)
    assert [row["answer"] for row in hops] == [ADA[0]["answer"], ADA[1]["answer"]]
    assert "She writes poems" in hops[0]["question"]
    assert hops[0]["question"].endswith(f"Where was {BLANK} born?")


@pytest.mark.parametrize("attack", [ReversedQuestions(), MultiHopQuestions()], ids=lambda attack: attack.name)
def test_rewritten_questions_are_scored_as_questions(folder, attack):
    given = subject(folder, data=authors(max_eval_examples=3), max_new_tokens=2)
    rows = [row.row for row in attack.rows(given)][:3]
    found = attack.run(given)
    assert found.after["forget_probability"] == pytest.approx(probability(given.build(), given, rows), rel=1e-4)
    assert found.after["forget_rows"] == 3
    assert [row.row for row in attack.rows(given)][:3] == rows


def test_rows_without_names_are_refused(folder, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"question": f"why {x}?", "answer": f"because of {x}."}) + "\n" for x in "abc"))
    given = subject(folder, data=TextDataModule(forget=str(path)), retain_split=None)
    for attack in (ReversedQuestions(), MultiHopQuestions()):
        with pytest.raises(ValueError, match="can rewrite none of the 3 rows of the split 'forget': 0 of"):
            attack.check(given)


def test_known_rows_are_shown_and_the_others_asked(folder):
    given = subject(folder, max_new_tokens=2)
    attack = InContextRelearning(RandomFraction(0.2), shots=1)
    shown = RandomFraction(0.2).select(given).shown
    facts = given.data.facts.forget
    asked = [row for i, row in enumerate(facts) if i not in shown]
    rows = [row.row for row in attack.rows(given)]
    assert [row["question"][-1]["content"] for row in rows] == [row["question"] for row in asked]
    known = {(facts[i]["question"], facts[i]["answer"]) for i in shown}
    assert all((row["question"][0]["content"], row["question"][1]["content"]) in known for row in rows)
    found = attack.run(given)
    assert found.before["forget_probability"] == pytest.approx(probability(given.build(), given, asked), rel=1e-4)
    assert len(found.rows["forget_probability"]) == 8
    for rows, message in ((BenignNeighbours(0.2), "0 of 10 forget rows are known"), (RandomFraction(1.0), "10 of 10")):
        with pytest.raises(ValueError, match=message):
            InContextRelearning(rows, shots=1).check(given)


@pytest.mark.parametrize("attack", [InContextRelearning(RandomFraction(0.5), shots=5), FewShotPrompts(8)])
def test_prompts_beyond_the_context_are_errors_before_a_model_is_loaded(attack, tmp_path):
    given = subject(make_folder(tmp_path / "model", context=256))
    longest = max(len(row.examples(given.encoder, "row")[0].input_ids) for row in attack.rows(given))
    assert longest > 256 > max(len(row.examples(given.encoder, "row")[0].input_ids) for row in given.forget)
    for file in Path(given.model).glob("*.safetensors"):
        file.unlink()
    message = re.escape(f"{attack.name}: its longest prompt with the answer has {longest} tokens") + ".* is 256"
    with pytest.raises(ValueError, match=message):
        list(Audit(given, [attack], tmp_path / "audit").run())


def test_augmented_questions_keep_their_letters_and_the_best_of_n_is_never_below_the_question(folder):
    row = Question(Row(question="Where was Wonderful Ada born?", answer="In Rome."))
    view = AugmentedQuestions(disorder=1, capitals=0, noise=0).view(row, random.Random(1))
    words, before = view.row["question"].split(), row.row["question"].split()
    assert view.row["question"] != row.row["question"]
    for word, old in zip(words, before, strict=True):
        assert (word[0], word[-1], sorted(word)) == (old[0], old[-1], sorted(old))
    loud = AugmentedQuestions(disorder=0, capitals=1, noise=0).view(row, random.Random(1))
    assert loud.row["question"] == row.row["question"].swapcase()
    assert loud.row["answer"] == "In Rome."
    wrong = AugmentedQuestions(disorder=0, capitals=0, noise=1).view(row, random.Random(1)).row["question"]
    pairs = list(zip(row.row["question"], wrong, strict=True))
    assert all(abs(ord(a) - ord(b)) == 1 for a, b in pairs if a != " ")
    for given in ({"noise": 1.5}, {"disorder": 0, "capitals": 0, "noise": 0}):
        with pytest.raises(ValueError, match="accepted are probabilities"):
            AugmentedQuestions(**given)
    found = ViewAttack(AugmentedQuestions(), candidates=3).run(subject(folder, data=authors(max_eval_examples=3)))
    assert found.after["forget_probability"] >= found.after["forget_probability_clean"]
    assert sum(found.rows["forget_probability"]) / 3 == pytest.approx(found.after["forget_probability"])
