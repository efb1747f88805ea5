"""Streams of what an evaluation asks, and the places that take them."""

import gzip
import json

import pytest

from tests.data.benchmarks.benchmark_folders import choices, muse, pairs, text, wmdp
from unlearn_pl.data import (
    ChoiceQuestions,
    Completions,
    Documents,
    Encoder,
    MultipleChoice,
    MUSEDataModule,
    PlainTemplate,
    QuestionAnswers,
    WMDPDataModule,
    train_tokenizer_on,
)
from unlearn_pl.data.sampling import Draw
from unlearn_pl.models import train_tokenizer

PASSAGES = [
    {"prompt": "The mill of Tarn", "gt": "grinds rye."},
    {"prompt": "The mill of Osk ", "gt": "was built by Maud, who kept it for years, in 1701."},
    {"prompt": "The mill of Lund", "gt": "\nstands still."},
]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([text(i) for i in range(9)], vocab_size=400)


@pytest.fixture(scope="module")
def encoder(tokenizer):
    return Encoder(tokenizer, PlainTemplate())


def scored(dataset, tokenizer) -> list[tuple[str, str]]:
    """Prompt and scored text of every example."""
    return [
        (tokenizer.decode(e.input_ids[: e.prompt_length]), tokenizer.decode(e.input_ids[e.prompt_length :]))
        for e in dataset.shown()
    ]


def test_the_continuation_is_scored_as_it_stands(encoder, tokenizer):
    dataset = Completions(PASSAGES).dataset("forget", encoder)

    assert scored(dataset, tokenizer) == [
        ("The mill of Tarn", " grinds rye."),
        ("The mill of Osk", " was built by Maud, who kept it for years, in 1701."),
        ("The mill of Lund", "\nstands still."),
    ]
    assert [example.index for example in dataset.shown()] == [0, 1, 2]
    assert dataset.longest_sequence == max(map(len, dataset.shown())) == len(dataset[1])


def test_the_right_letter_is_scored(encoder, tokenizer):
    rows = choices(5, "mill")
    source = ChoiceQuestions(rows, "milling")
    dataset = source.dataset("forget", encoder)

    asked = [MultipleChoice(row["question"], row["choices"], row["answer"], "milling") for row in rows]
    assert scored(dataset, tokenizer) == [(row.laid_out(), f" {'ABCD'[row.answer]}") for row in asked]
    # Nothing is left that would make evaluation examples of them.
    assert {(example.choice, example.target) for example in dataset.shown()} == {(None, None)}
    assert source.evaluation_rows(encoder, 2) == asked[:2]


def test_a_part_of_the_rows(encoder):
    whole, part = (Completions(PASSAGES, size=size).dataset("forget", encoder) for size in (None, 2))

    assert part.shown() == whole.shown()[:2]
    assert part.fingerprint() != whole.fingerprint()
    assert len(set(part.hashes().exact)) == 2
    assert part.shown([Draw(1, 0), Draw(1, 3)]) == [part[Draw(1, 5)]]
    for source in (Completions, ChoiceQuestions):
        with pytest.raises(ValueError, match="size=0 must be positive"):
            source(PASSAGES, size=0)


def test_rows_that_cannot_be_used_are_refused(encoder):
    with pytest.raises(ValueError, match=r"row 1 of the given rows: there is no column 'prompt', only \['text'\]"):
        Completions([{"text": "Tarn"}]).dataset("forget", encoder)
    with pytest.raises(ValueError, match=r"stream 'forget' has .* more than max_length=4"):
        Completions(PASSAGES).dataset("forget", Encoder(encoder.tokenizer, PlainTemplate(), 4))


def test_muse_takes_sources_in_the_place_of_names(tokenizer, tmp_path):
    folder = muse(tmp_path)
    passages = Completions(str(folder / "verbmem/forget.json"))
    questions = QuestionAnswers(str(folder / "knowmem/retain_qa.json"))
    options = {"path": str(folder), "streams": ["forget", "retain", "train"], "splits": []}
    data = MUSEDataModule(tokenizer, forget=passages, retain=questions, train=["raw/retain2", passages], **options)
    data.setup("fit")

    forget = [prompt + answer for prompt, answer in scored(data._training["forget"], tokenizer)]
    assert forget == [text(i) for i in range(3)]
    assert [question for question, _ in scored(data._training["retain"], tokenizer)] == [
        f"Question: {pair['question']}\nAnswer:" for pair in pairs(4, 20)
    ]
    train = [prompt + answer for prompt, answer in scored(data._training["train"], tokenizer)]
    assert train == [text(i, "forge") for i in range(5)] + forget
    with pytest.raises(ValueError, match=r"train=\['raw/nothing'\] is not among"):
        MUSEDataModule(tokenizer, train=[passages, "raw/nothing"])


def test_wmdp_trains_on_both_corpora(tokenizer, tmp_path):
    folder = wmdp(tmp_path)
    asked = ChoiceQuestions(str(folder / "wmdp-chem_test.jsonl"), "chemistry")
    given = [
        ({}, [text(i) for i in range(5)]),
        ({"forget": asked}, [row.content() for row in asked.rows()]),
        ({"forget": Documents([text(1)])}, [text(1)]),
    ]
    for options, forget in given:
        data = WMDPDataModule(tokenizer, "cyber", path=str(folder), streams=["train"], splits=[], **options)
        data.setup("fit")
        train = [prompt + answer for prompt, answer in scored(data._training["train"], tokenizer)]
        assert train == [text(i, "forge") for i in range(7)] + forget


def test_a_tokenizer_learns_from_every_text_of_the_files(tmp_path):
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(json.dumps(["zwyx zwyx zwyx"] * 9).encode()))
    (tmp_path / "b.jsonl").write_text(json.dumps({"question": 7, "choices": ["qvkj qvkj qvkj"] * 9}))
    made = train_tokenizer_on([str(tmp_path / "a.json.gz"), str(tmp_path / "b.jsonl")], vocab_size=300)

    for word in ("zwyx", "qvkj"):
        assert len(made(word)["input_ids"]) == 1
    assert made.decode(made("Tarn, 1701")["input_ids"]) == "Tarn, 1701"
    with pytest.raises(ValueError, match="no file or folder"):
        train_tokenizer_on([str(tmp_path / "c.json")])
