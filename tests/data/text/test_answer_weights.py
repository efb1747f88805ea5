"""Weights of parts of an answer, or of its tokens: from rows, columns and files to the batch and the loss."""

import json

import pytest
import torch
from safetensors.torch import save_file

from tests import kit
from unlearn_pl.data import Example, QuestionAnswers, TextDataModule, WeightedAnswers, collate_examples
from unlearn_pl.data.streams.datasets import StreamDataset
from unlearn_pl.data.text.answer_weights import answer_weights
from unlearn_pl.data.text.encoder import Encoder
from unlearn_pl.data.text.template import PlainTemplate

ANSWER = "Oda Lindqvist was born in Karlsby. Oda left."
ODA = [{"span": "Oda", "weight": 2.5}]


def encoder():
    return Encoder(kit.tokenizer(), PlainTemplate())


def dataset(*rows):
    return StreamDataset("forget", rows, encoder())


def row(weights, answer=ANSWER):
    return {"question": "Who?", "answer": answer, "weights": weights}


def weighted_text(example, weight):
    tokens = example.input_ids[example.prompt_length :]
    return kit.tokenizer().decode([t for t, w in zip(tokens, example.weights, strict=True) if w == weight])


def test_every_place_of_a_span_has_its_weight_and_the_rest_1():
    example = dataset(row(ODA))[0]
    assert weighted_text(example, 2.5).split() == ["Oda", "Oda"]
    assert set(example.weights) == {1.0, 2.5}
    assert len(example.weights) == len(example) - example.prompt_length


def test_of_several_spans_the_largest_weight_counts():
    spans = [{"span": "Oda Lindqvist", "weight": 3}, {"span": "Lindqvist was", "weight": 0.5}]
    example = dataset(row(spans))[0]
    assert weighted_text(example, 3.0).strip() == "Oda Lindqvist"
    assert weighted_text(example, 0.5).strip() == "was"


def test_numbers_are_one_per_scored_token():
    plain = dataset({"question": "Who?", "answer": ANSWER})[0]
    assert plain.weights is None
    numbers = [float(n % 3) for n in range(len(plain) - plain.prompt_length)]
    assert dataset(row(numbers))[0].weights == numbers


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([{"span": "Ivo", "weight": 2.0}], r"span 'Ivo' of the weights in row 0 of the stream 'forget' is no part of"),
        ([{"span": "", "weight": 2.0}], "span '' of the weights in row 0"),
        (
            [{"span": "Oda", "weight": -1.0}],
            r"A weight in row 0 .* is -1\.0; accepted: numbers that are finite",
        ),
        ([{"span": "Oda", "weight": float("nan")}], "is nan; accepted"),
        ([{"span": "Oda", "weight": float("inf")}], "is inf; accepted"),
        ([{"span": "Oda", "weight": True}], "is True; accepted"),
        ([{"span": "Oda", "weight": "2"}], "is '2'; accepted"),
        ([{"span": "Oda"}], r"An entry of the weights in row 0 .* accepted: a list of {'span'"),
        ([{"span": ANSWER, "weight": 0}] * 2, None),
        ([1.0, 2.0], r"There are 2 weights in row 0 .* scored tokens, the end of its turn included"),
        ([], r"The weights in row 0 .* are \[\]; accepted"),
        ("heavy", r"are 'heavy'; accepted"),
    ],
)
def test_what_is_wrong_is_named_before_training(weights, message):
    if message is None:  # the end of the turn still has weight 1
        assert set(dataset(row(weights))[0].weights) == {0.0, 1.0}
        return
    with pytest.raises(ValueError, match=message):
        dataset(row(weights))
    with pytest.raises(ValueError, match=message):
        dataset(row(weights, ["Yes.", ANSWER]))


def test_all_weights_0_leave_nothing_to_score():
    count = len(answer_tokens())
    with pytest.raises(ValueError, match=r"All tokens of the answer in here have weight 0; leave the row out"):
        answer_weights(answer_tokens(), ANSWER, [0] * count, kit.tokenizer(), "here")


def answer_tokens():
    example = dataset({"question": "Who?", "answer": ANSWER})[0]
    return example.input_ids[example.prompt_length :]


def test_every_answer_of_a_row_must_have_the_span():
    assert len(dataset(row(ODA, ["Oda.", "It was Oda, I think."])).shown()) == 2
    with pytest.raises(ValueError, match=r"span 'Oda'.* is no part of the answer 'Ivo\.'"):
        dataset(row(ODA, ["It was Oda, I think.", "Ivo."]))


def test_a_batch_has_weights_only_where_one_is_not_1():
    examples = [Example([5, 6, 7, 1], 2, weights=[1.0, 0.5]), Example([5, 1], 1)]
    assert collate_examples(examples, 0)["weight"].tolist() == [[1, 1, 1, 0.5], [1, 1, 1, 1]]
    assert "weight" not in collate_examples([Example([5, 6, 7, 1], 2, weights=[1.0, 1.0]), examples[1]], 0)


def test_the_fingerprint_says_whether_weights_have_changed():
    plain, one, other = (dataset(row(w)).fingerprint() for w in (None, ODA, [{"span": "Oda", "weight": 2.0}]))
    assert plain == dataset({"question": "Who?", "answer": ANSWER}).fingerprint()
    assert len({plain, one, other}) == 3


# Columns and files ---------------------------------------------------------------------------------------------------

ROWS = [{"question": "Who?", "answer": ANSWER}, {"question": "Where?", "answer": "In Karlsby."}]


def test_a_column_of_the_rows():
    given = [{**ROWS[0], "heavy": ODA}, {**ROWS[1], "heavy": None}]
    made = QuestionAnswers(given, weights="heavy").rows()
    assert made == [{**ROWS[0], "weights": ODA}, ROWS[1]]
    with pytest.raises(ValueError, match="there is no column 'heavy'"):
        QuestionAnswers(ROWS, weights="heavy").rows()
    evaluated = QuestionAnswers(given, weights="heavy").evaluation_rows(encoder(), None)
    assert evaluated == ROWS


def numbers_of_rows():
    lengths = [len(dataset(r)[0]) - dataset(r)[0].prompt_length for r in ROWS]
    return [[0.5 + n for n in range(length)] for length in lengths]


def test_learned_weights_from_a_file(tmp_path):
    numbers = numbers_of_rows()
    lines, tensors = tmp_path / "weights.jsonl", tmp_path / "weights.safetensors"
    lines.write_text("".join(json.dumps({"weights": part}) + "\n" for part in numbers))
    lengths = torch.tensor([len(part) for part in numbers])
    save_file({"weights": torch.cat([torch.tensor(part) for part in numbers]), "lengths": lengths}, tensors)
    for path in (str(lines), tensors, [{"weights": part} for part in numbers]):
        source = WeightedAnswers(QuestionAnswers(ROWS), path)
        examples = source.dataset("forget", encoder())
        assert [examples[i].weights for i in range(2)] == numbers
        assert [row.keys() for row in source.evaluation_rows(encoder(), None)] == [ROWS[0].keys()] * 2


def test_files_that_do_not_fit_the_rows(tmp_path):
    path = tmp_path / "weights.safetensors"
    source = WeightedAnswers(QuestionAnswers(ROWS), path)
    with pytest.raises(ValueError, match="cannot be read"):
        source.rows()
    save_file({"weights": torch.ones(3)}, path)
    with pytest.raises(ValueError, match=r"has the tensors \['weights'\]; accepted: 'weights' and 'lengths'"):
        source.rows()
    save_file({"weights": torch.ones(3), "lengths": torch.tensor([1, 1])}, path)
    with pytest.raises(ValueError, match=r"lengths \[2\] that add up to 2; accepted"):
        source.rows()
    save_file({"weights": torch.ones(3), "lengths": torch.tensor([3])}, path)
    with pytest.raises(ValueError, match="has weights of 1 rows, and QuestionAnswers of the given rows has 2 rows"):
        source.rows()
    with pytest.raises(ValueError, match="row 1 of the given rows: there is no column 'weights'"):
        WeightedAnswers(QuestionAnswers(ROWS), [{"w": 1}, {}]).rows()


def test_alternates_of_weighted_rows_have_no_weights():
    data = TextDataModule(kit.tokenizer(), forget=QuestionAnswers([{**ROWS[0], "w": ODA}], weights="w"))
    streams = data.load_streams()
    assert "weights" not in streams["forget.alternate"]()[0]
    assert streams["forget"].rows()[0]["weights"] == ODA
