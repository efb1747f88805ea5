"""RWKU's tables, in the schema of the hub with made-up rows: what every stream and split holds, and what raises."""

import json

import pytest

from tests import kit
from tests.data.benchmarks.benchmark_folders import text, write
from unlearn_pl.callbacks import RWKUEvaluation
from unlearn_pl.callbacks.benchmarks.rwku import said
from unlearn_pl.data import ClozeChoice, MultipleChoice, RWKUDataModule
from unlearn_pl.models import tiny_llama, train_tokenizer
from unlearn_pl.modules import PretrainedModule

PEOPLE = ["Oda Lind", "Ivo Vik", "Una Brae"]


def probes(level: int, kinds: tuple[str, ...] = ("",)) -> list[dict]:
    return [
        {
            "subject": name,
            "query": f"{kind} Who keeps mill {i}?",
            "answer": f"Maud {i}",
            "level": str(level),
            "type": kind,
        }
        for i, name in enumerate(PEOPLE)
        for kind in kinds
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("rwku")
    write(place / "forget_target.json", [{"target": name, "intro": "A miller."} for name in PEOPLE])
    passages = [{"subject": PEOPLE[i % 3], "text": text(i)} for i in range(9)]
    write(place / "train_positive_llama3.json", passages)
    write(place / "forget_level1.json", probes(1))
    write(place / "forget_level2.jsonl", probes(2), lines=True)
    write(place / "forget_level3.json", probes(3, ("affirmative suffix", "incontext learning", "synonym manipulation")))
    write(place / "neighbor_level1.json", [row | {"neighbor": "Tarn"} for row in probes(1)])
    write(place / "neighbor_level2.json", [row | {"neighbor": "Tarn"} for row in probes(2)])
    general = {"question": "Which stone?", "choices": ["salt", "rye"], "answer": 1, "task": "old_mills", "examples": []}
    write(place / "utility_general.json", [general | {"subject": name} for name in PEOPLE])
    reason = {"task": "x", "cot": "Q: 1\nA: So the answer is 1.", "question": "And 2?", "answer": ["2", "two"]}
    write(place / "utility_reason.json", [reason | {"subject": name} for name in PEOPLE])
    truth = {"question": "Do mills sing?", "mc1_targets": {"choices": ["No.", "Yes, they do."], "labels": [1, 0]}}
    write(place / "utility_truthfulness.json", [truth])  # of no person
    write(
        place / "utility_factuality.json", [{"question": "Who?", "answers": ["Maud", "Maud Vik"], "subject": PEOPLE[0]}]
    )
    for kind in ("forget", "retain"):
        write(place / f"mia_{kind}.json", [{"subject": name, "text": text(7)} for name in PEOPLE])
    return place


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([text(i) for i in range(9)], vocab_size=400)


SPLITS = [
    *("forget_level1", "forget_level2", "forget_level3", "neighbor_level1", "neighbor_level2"),
    *("utility_general", "utility_reason", "utility_truthfulness", "utility_factuality", "mia_forget", "mia_retain"),
]


def test_streams_are_texts_about_the_targets_and_about_others(folder, tokenizer):
    data = RWKUDataModule(tokenizer, path=str(folder), targets=2)
    data.setup("fit")

    def texts(stream):
        return [data.tokenizer.decode(example.input_ids) for example in data._training[stream].shown()]

    assert texts("forget") == [text(i) for i in range(9) if i % 3 < 2]
    assert texts("retain") == [text(i) for i in range(9) if i % 3 == 2]


def test_splits_hold_the_rows_of_the_targets(folder, tokenizer):
    data = RWKUDataModule(tokenizer, path=str(folder), targets=["Ivo Vik"], splits=SPLITS)
    with pytest.raises(ValueError, match="utility_factuality has no row about the 1 targets, such as 'Ivo Vik'"):
        data.setup("test")
    data = RWKUDataModule(tokenizer, path=str(folder), targets=["Oda Lind"], splits=SPLITS)
    data.setup("test")
    rows = {split: data.evaluation_rows(split) for split in SPLITS}
    assert {split: len(of) for split, of in rows.items()} == {s: 3 if s == "forget_level3" else 1 for s in SPLITS}
    assert rows["forget_level1"][0].asked() == (
        "Please complete the blank in the following question.\nQuestion:  Who keeps mill 0?\nAnswer:"
    )
    suffix, shown, other = (row.asked() for row in rows["forget_level3"])
    assert suffix.endswith("Question: affirmative suffix Who keeps mill 0?")
    assert "Question: " not in shown
    assert shown.endswith("\nAnswer:")
    assert other.endswith("synonym manipulation Who keeps mill 0?\nAnswer:")
    assert rows["utility_general"] == [MultipleChoice("Which stone?", ["salt", "rye"], 1, "old mills")]
    assert rows["utility_truthfulness"] == [ClozeChoice("Q: Do mills sing?\nA:", ["No.", "Yes, they do."], 0, False)]
    assert rows["utility_factuality"][0].row["answer"] == ["Maud", "Maud Vik"]


def test_every_metric_is_there(folder, tokenizer, tmp_path):
    data = RWKUDataModule(tokenizer, path=str(folder), targets=["Oda Lind", "Ivo Vik"], splits=SPLITS)
    evaluation = RWKUEvaluation(str(tmp_path / "r.json"), max_new_tokens=3, reasoning_tokens=4)
    model = tiny_llama(400, hidden_size=16, num_layers=1, num_heads=2, max_position_embeddings=512)
    kit.trainer(callbacks=[evaluation]).test(PretrainedModule(model), data, verbose=False)
    rouge = {f"{split}_rouge" for split in SPLITS[:5]} | {"forget_rouge", "neighbor_rouge"}
    others = {
        *("utility_general_accuracy", "utility_truthfulness_accuracy", "utility_reason_exact_match"),
        *("utility_factuality_exact_match", "utility_factuality_f1", "mia_forget_nll", "mia_retain_nll"),
    }
    assert evaluation.results.metrics.keys() == rouge | others
    assert all(RWKUEvaluation.direction(name) for name in rouge | others)


def test_means_over_levels():
    table = {split: {"rouge": {0: value}} for split, value in zip(SPLITS[:4], (0.2, 0.4, 0.9, 0.1), strict=True)}
    found = RWKUEvaluation.metrics_of(table)
    assert found["forget_rouge"] == pytest.approx(0.5)
    assert "neighbor_rouge" not in found  # one of its levels was not evaluated
    assert said("Think. So the answer is 42. Done.") == "42"
    assert said("The answer is no") == "no"
    assert said(" 42 ") == "42"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"targets": 0}, "targets"),
        ({"targets": "Oda Lind"}, "a number, or a list of names"),
        ({"targets": []}, "a number, or a list of names"),
        ({"chunk_length": 1}, "chunk_length"),
    ],
)
def test_bad_arguments(options, says):
    with pytest.raises(ValueError, match=says):
        RWKUDataModule(**options)


@pytest.mark.parametrize(
    ("targets", "says"),
    [(4, "targets=4; accepted are 1 to 3"), (["Nil"], r"\['Nil'\] are not in forget_target"), (3, "no targets")],
)
def test_unknown_persons_and_a_missing_retain_set(folder, tokenizer, targets, says):
    with pytest.raises(ValueError, match=says):
        RWKUDataModule(tokenizer, path=str(folder), targets=targets).setup("fit")


@pytest.mark.parametrize(
    ("table", "lost"),
    [
        ("forget_level1", "query"),
        ("forget_level1", "subject"),
        ("forget_level1", "level"),
        ("forget_level3", "type"),
        ("neighbor_level1", "answer"),
        ("utility_general", "choices"),
        ("utility_general", "task"),
        ("utility_reason", "cot"),
        ("utility_truthfulness", "mc1_targets"),
        ("utility_factuality", "answers"),
        ("mia_forget", "subject"),
        ("mia_retain", "text"),
    ],
)
def test_a_missing_column_is_named_beside_those_that_are_there(folder, tokenizer, tmp_path, table, lost):
    for name in ("forget_target", table):
        rows = json.loads((folder / f"{name}.json").read_text())
        others = [{key: value for key, value in row.items() if (name, key) != (table, lost)} for row in rows]
        write(tmp_path / f"{name}.json", others)
    with pytest.raises(ValueError, match=rf"{table}: .*there is no column '{lost}', only \['\w+'"):
        RWKUDataModule(tokenizer, path=str(tmp_path), targets=1, splits=[table]).setup("validate")
