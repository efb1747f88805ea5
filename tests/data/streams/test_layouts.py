"""Rows as other tools have them: Alpaca's, SQuAD's, ShareGPT's and ARC's layouts, tools, and arrays of NumPy."""

import json

import numpy as np
import pandas as pd
import pytest

from unlearn_pl.data import Chats, ChatTemplate, ChoiceQuestions, QuestionAnswers, encode, read_rows
from unlearn_pl.data.streams.detect import detect_source
from unlearn_pl.data.text.encoder import Encoder
from unlearn_pl.models import train_tokenizer

# Questions -----------------------------------------------------------------------------------------------------------

ALPACA = [
    {"instruction": "Name the keeper.", "input": "The mill of Tarn.", "output": "Maud."},
    {"instruction": "Say hello.", "input": "", "output": "Hello."},
]
SQUAD = {"id": "7", "title": "Tarn", "context": "Maud keeps the mill.", "question": "Who keeps it?"}


def written(tmp_path, rows):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows))
    return path


def test_alpaca(tmp_path):
    source = detect_source(written(tmp_path, ALPACA))
    assert source.rows() == [
        {"question": "Name the keeper.\n\nThe mill of Tarn.", "answer": "Maud."},
        {"question": "Say hello.", "answer": "Hello."},
    ]
    without = [{name: row[name] for name in ("instruction", "output")} for row in ALPACA]
    assert detect_source(without).rows()[0]["question"] == "Name the keeper."


def test_squad(tmp_path):
    answers = {"text": ["Maud", "Maud Ferrier"], "answer_start": [0, 0]}
    source = detect_source(written(tmp_path, [{**SQUAD, "answers": answers}]))
    assert source.rows() == [{"question": "Maud keeps the mill.\n\nWho keeps it?", "answer": ["Maud", "Maud Ferrier"]}]
    arrays = [{**SQUAD, "answers": {"text": np.array(answers["text"], dtype=object), "answer_start": np.zeros(2)}}]
    assert detect_source(arrays).rows() == detect_source(pd.DataFrame(arrays)).rows() == source.rows()
    with pytest.raises(ValueError, match=r"row 1 of .*the column 'answers' has {'text': \[\].*accepted is text, or"):
        detect_source([{**SQUAD, "answers": {"text": [], "answer_start": []}}]).rows()  # of SQuAD 2: no answer


def test_squads_own_file_is_explained(tmp_path):
    with pytest.raises(ValueError, match=r"all rows in one, as SQuAD's own file has; accepted is a row per question"):
        detect_source(written(tmp_path, {"version": "1.1", "data": [{"title": "Tarn", "paragraphs": []}]}))


def test_a_question_in_several_columns():
    rows = [{"a": "One.", "b": None, "c": "Two?", "answer": "Yes."}]
    assert QuestionAnswers(rows, ["a", "b", "c"]).rows() == [{"question": "One.\n\nTwo?", "answer": "Yes."}]
    with pytest.raises(ValueError, match="there is no column 'd', only"):
        QuestionAnswers(rows, ["a", "d"]).rows()
    with pytest.raises(ValueError, match=r"the columns \['b'\] are empty"):
        QuestionAnswers(rows, ["b"]).rows()
    with pytest.raises(ValueError, match=r"question=\[\] names no column"):
        QuestionAnswers(rows, [])


@pytest.mark.parametrize("answers", [np.array(["Maud.", "Oda."], dtype=object), ("Maud.", "Oda.")])
def test_answers_in_arrays_and_tuples(answers):
    rows = [{"question": np.str_("Who?"), "answer": answers, "id": np.int64(3)}]
    assert QuestionAnswers(rows).rows() == [{"question": "Who?", "answer": ["Maud.", "Oda."]}]
    assert type(read_rows(rows)[0]["id"]) is int


# Conversations -------------------------------------------------------------------------------------------------------

TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Where is Osk?"},
    {"role": "assistant", "content": "North."},
]
SENDERS = {"system": "system", "user": "human", "assistant": "gpt"}


@pytest.mark.parametrize("column", ["conversations", "messages"])
def test_sharegpt(tmp_path, column):
    turns = [{"from": SENDERS[turn["role"]], "value": turn["content"]} for turn in TURNS]
    source = detect_source(written(tmp_path, [{"id": "a", column: turns}]))
    assert source.rows() == Chats([{"messages": TURNS}]).rows()


def test_contents_in_parts_of_text():
    parts = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in TURNS]
    assert Chats([{"messages": parts}]).rows() == Chats([{"messages": TURNS}]).rows()
    parts[1]["content"].append({"type": "image", "url": "a.png"})
    with pytest.raises(ValueError, match=r"a\.png.*accepted is .* and a text"):
        Chats([{"messages": parts}]).rows()


WITH_TOOL = [
    {"role": "developer", "content": "Be brief."},
    TURNS[1],
    {"role": "assistant", "content": "<call>map(Osk)</call>"},
    {"role": "tool", "content": '{"place":  "north"}'},
    TURNS[2],
]
ALL_ROLES = """{%- for turn in messages %}{{- "<" + turn.role + ">" + turn.content + "<end>" }}{%- endfor %}
{%- if add_generation_prompt %}{{- "<assistant>" }}{%- endif %}"""
# In the style of many: what has another role is passed over.
FEW_ROLES = ALL_ROLES.replace("messages %}", 'messages if turn.role in ("system", "user", "assistant") %}')


def tokenizer_of(template):
    made = train_tokenizer([turn["content"] for turn in WITH_TOOL], 300, chat_template=template)
    made.add_special_tokens({"extra_special_tokens": ["<end>"]})
    return made


def test_turns_of_tools_and_developers_are_laid_out_where_the_template_has_them():
    tokenizer = tokenizer_of(ALL_ROLES)
    call, last = Chats([{"messages": WITH_TOOL}]).rows()
    example = encode(tokenizer, ChatTemplate(), last["question"], last["answer"])

    assert call["answer"] == "<call>map(Osk)</call>"
    assert tokenizer.decode(example.input_ids) == "".join(
        f"<{turn['role']}>{turn['content']}<end>" for turn in WITH_TOOL
    )
    assert tokenizer.decode(example.input_ids[example.prompt_length :]) == "North.<end>"


@pytest.mark.parametrize(("first", "role", "other"), [(0, "developer", "system"), (1, "tool", "user")])
def test_a_template_that_passes_over_a_turn_is_refused(first, role, other):
    last = Chats([{"messages": WITH_TOOL[first:]}]).rows()[-1]
    with pytest.raises(ValueError, match=rf"writes nothing of a turn of the role '{role}'.* such as '{other}'"):
        encode(tokenizer_of(FEW_ROLES), ChatTemplate(), last["question"], last["answer"])


def test_a_conversation_that_is_too_long_is_told_what_helps():
    encoder = Encoder(tokenizer_of(ALL_ROLES), ChatTemplate(), max_length=20, truncate=True)
    with pytest.raises(ValueError, match=r"conversation in row 1 has .* leave out its first turns") as error:
        encoder.example(WITH_TOOL[:-1], "North.", "row 1")
    assert "truncate" not in str(error.value)


# Multiple choice -----------------------------------------------------------------------------------------------------

OPTIONS = ["north", "south", "west"]


@pytest.mark.parametrize(
    "answer", [1, "1", "B", "b", " B", "south", 1.0, np.int64(1), np.array([1]), np.array(1), [1], "B "]
)
@pytest.mark.parametrize("make", [list, tuple, lambda options: np.array(options, dtype=object)])
def test_answers_by_number_letter_and_text(answer, make):
    rows = [{"question": "Where?", "choices": make(OPTIONS), "answer": answer}]
    (question,) = ChoiceQuestions(rows).rows()
    assert (question.answer, question.choices) == (1, OPTIONS)


ARC = [
    {"question": "Where?", "choices": {"text": OPTIONS, "label": list("ABC")}, "answerKey": "B"},
    {"question": "Where?", "choices": {"text": OPTIONS, "label": list("123")}, "answerKey": "2"},
    {"question": "Where?", "choices": {"text": np.array(OPTIONS), "label": np.array(list("ABC"))}, "answerKey": "B"},
    {
        "question": {
            "stem": "Where?",
            "choices": [{"text": text, "label": label} for text, label in zip(OPTIONS, "ABC", strict=True)],
        },
        "answerKey": "B",
    },
]


@pytest.mark.parametrize("row", ARC)
def test_arc(row):
    (question,) = ChoiceQuestions([row]).rows()
    assert (question.question, question.answer, question.choices) == ("Where?", 1, OPTIONS)


@pytest.mark.parametrize(
    ("choices", "answer", "message"),
    [
        (OPTIONS, "D", "answer='D' names none of the 3 choices"),
        (OPTIONS, None, "answer=None names none"),
        (OPTIONS, True, "answer=True names none"),
        (OPTIONS, 3, "answer=3 with 3 choices"),
        (["2", "1", "0"], "0", "answer='0' names 2 of the 3 choices"),  # a number, or a text?
        ({"text": OPTIONS, "label": ["A"]}, "A", "columns question, choices"),
    ],
)
def test_answers_that_name_no_option_or_two(choices, answer, message):
    with pytest.raises(ValueError, match=rf"row 1 of the given rows: .*{message}"):
        ChoiceQuestions([{"question": "Where?", "choices": choices, "answer": answer}]).rows()
