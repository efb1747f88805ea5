import json
import logging
import os
from pathlib import Path

import datasets
import pytest

from tests import kit
from tests.data.benchmarks.benchmark_folders import judged, preference, write
from unlearn_pl.data import REFUSALS, Draw, PreferenceDataModule
from unlearn_pl.models import train_tokenizer
from unlearn_pl.modules import MOLLM, NPO, PretrainedModule

DATA = Path(os.environ.get("UNLEARN_PL_DATA", Path(__file__).parents[3] / ".." / "shared" / "data"))
REAL = DATA / "truthfulqa" / "TruthfulQA.csv"
needs_data = pytest.mark.skipif(not REAL.is_file(), reason=f"the file {REAL} is missing")


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([f"{row['prompt']} {row['response_0']} {row['response_1']}" for row in judged(6)], 400)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return preference(tmp_path_factory.mktemp("preference"))


def answers(rows: list[dict], safe: bool) -> list[tuple[str, str]]:
    """The harmless or harmful answers, the safer one of a row first."""
    found = []
    for row in rows:
        for i in (row["safer_response_id"], 1 - row["safer_response_id"]):
            if row[f"is_response_{i}_safe"] is safe:
                found.append((row["prompt"], row[f"response_{i}"]))
    return found


def pairs(rows: list[dict]) -> list[tuple[str, str]]:
    return [(row["question"], row["answer"]) for row in rows]


def load(data: PreferenceDataModule) -> dict[str, list[dict]]:
    return {name: source() for name, source in data.load_streams().items()}


def test_harmful_answers_are_forgotten_and_harmless_ones_retained(tokenizer, folder):
    streams = load(PreferenceDataModule(tokenizer, path=str(folder), normal=str(folder / "normal.csv")))

    assert list(streams) == ["forget", "retain", "forget.alternate", "normal", "train"]
    assert pairs(streams["forget"]) == answers(judged(12), safe=False)
    assert pairs(streams["retain"]) == answers(judged(12), safe=True)
    assert len(streams["forget"]) == len(streams["retain"]) == 12
    assert pairs(streams["normal"]) == [(f"Do mills turn, {i}?", f"They turn{' slowly' * i}") for i in range(5)]
    # For the model that is to forget: all it is asked about, each row once.
    asked = [*pairs(streams["forget"]), *pairs(streams["retain"]), *pairs(streams["normal"])]
    assert sorted(pairs(streams["train"])) == sorted(asked)


def test_alternates_are_the_harmless_answers_to_the_same_prompt(tokenizer, folder, caplog):
    data = PreferenceDataModule(tokenizer, path=str(folder))
    with caplog.at_level(logging.INFO):
        streams = load(data)
    harmless = {}
    for prompt, answer in answers(judged(12), safe=True):
        harmless.setdefault(prompt, []).append(answer)

    assert [row["question"] for row in streams["forget.alternate"]] == [row["question"] for row in streams["forget"]]
    for row in streams["forget.alternate"]:
        assert list(row["answer"]) == harmless.get(row["question"], list(REFUSALS))
    without = sum(row["question"] not in harmless for row in streams["forget"])
    assert 0 < without < 12
    assert f"{without} of 12 prompts have no harmless answer" in caplog.text

    data = PreferenceDataModule(tokenizer, path=str(folder), streams=["forget", "forget.alternate"])
    data.setup("fit")
    position = next(i for i, row in enumerate(streams["forget"]) if row["question"] not in harmless)
    shown = {tuple(data._training["forget.alternate"][Draw(position, round_)].input_ids) for round_ in range(20)}
    assert len(shown) > 3  # another refusal every round


def test_the_test_set_is_what_is_evaluated(tokenizer, folder):
    data = PreferenceDataModule(tokenizer, path=str(folder))
    splits = {name: source() for name, source in data.load_splits().items()}

    assert list(splits) == ["forget", "retain", "preference"]
    assert pairs(splits["forget"]) == answers(judged(8), safe=False)
    assert pairs(splits["retain"]) == answers(judged(8), safe=True)
    for row, given in zip(splits["preference"], judged(8), strict=True):
        safer = given["safer_response_id"]
        assert row == {
            "question": given["prompt"],
            "answer": given[f"response_{safer}"],
            "perturbed_answer": [given[f"response_{1 - safer}"]],
        }


def test_a_single_file_serves_training_and_evaluation(tokenizer, folder):
    data = PreferenceDataModule(tokenizer, path=str(folder / "train.jsonl"))

    assert pairs(data.load_splits()["forget"]()) == pairs(data.load_streams()["forget"]())


@pytest.mark.parametrize("kind", ["csv", "parquet", "json"])
def test_other_formats_hold_the_same(tokenizer, folder, tmp_path, kind):
    rows = datasets.Dataset.from_list(judged(12))
    write(tmp_path / "rows.json", judged(12))
    rows.to_csv(tmp_path / "rows.csv")  # true and false as words
    rows.to_parquet(tmp_path / "rows.parquet")
    ours, expected = (
        load(PreferenceDataModule(tokenizer, path=str(path)))
        for path in (tmp_path / f"rows.{kind}", folder / "train.jsonl")
    )

    assert ours == expected


def test_chosen_and_rejected_answers(tokenizer, tmp_path):
    rows = [{"prompt": f"How, {i}?", "chosen": f"Please do not, {i}.", "rejected": f"Like so, {i}."} for i in range(3)]
    write(tmp_path / "pairs.jsonl", rows, lines=True)
    data = PreferenceDataModule(tokenizer, path=str(tmp_path / "pairs.jsonl"))
    streams = load(data)

    assert pairs(streams["forget"]) == [(row["prompt"], row["rejected"]) for row in rows]
    assert pairs(streams["retain"]) == [(row["prompt"], row["chosen"]) for row in rows]
    assert pairs(streams["forget.alternate"]) == [(row["prompt"], [row["chosen"]]) for row in rows]
    assert data.load_splits()["preference"]()[0]["perturbed_answer"] == ["Like so, 0."]


def test_sizes(tokenizer, folder):
    streams = load(PreferenceDataModule(tokenizer, path=str(folder), forget_size=5, retain_size=2))

    sizes = {"forget": 5, "retain": 2, "forget.alternate": 5, "train": 7}
    assert {name: len(rows) for name, rows in streams.items()} == sizes
    assert pairs(streams["forget"]) == answers(judged(12), safe=False)[:5]


def test_without_a_file_rows_come_from_the_hub(tokenizer, monkeypatch):
    asked = []

    def load_dataset(repository: str, config: str, split: str) -> datasets.Dataset:
        asked.append((repository, config, split))
        truthful = [{"question": "Do mills turn?", "best_answer": "They do.", "correct_answers": ["Yes."]}]
        return datasets.Dataset.from_list(truthful if "truthful" in repository else judged(4))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    data = PreferenceDataModule(tokenizer, streams=["forget", "normal"], splits=["preference"])
    data.setup("fit")

    assert set(asked) == {
        ("PKU-Alignment/PKU-SafeRLHF", "default", "train"),
        ("PKU-Alignment/PKU-SafeRLHF", "default", "test"),
        ("truthfulqa/truthful_qa", "generation", "validation"),
    }
    assert {name: len(stream) for name, stream in data._training.items()} == {"forget": 4, "normal": 1}
    assert len(data.val_dataloader()["preference"].dataset) == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"is_response_1_safe": "maybe"}, r"line 2 of .*'is_response_1_safe' has 'maybe'; accepted are true, false"),
        ({"safer_response_id": 2}, r"line 2 of .*'safer_response_id' has 2"),
        ({"response_0": " "}, r"line 2 of .*'response_0' is empty"),
        ({"prompt": None}, r"line 2 of .*'prompt' has None"),
    ],
)
def test_broken_rows_are_refused(tokenizer, tmp_path, change, message):
    write(tmp_path / "rows.jsonl", [judged(1)[0], judged(2)[1] | change], lines=True)

    with pytest.raises(ValueError, match=message):
        PreferenceDataModule(tokenizer, path=str(tmp_path / "rows.jsonl")).setup("fit")


def test_missing_columns_and_files_are_named(tokenizer, tmp_path):
    write(tmp_path / "rows.jsonl", [{"prompt": "How?", "response_0": "So."}], lines=True)
    write(tmp_path / "other.jsonl", [{"q": "How?", "a": "So."}], lines=True)

    with pytest.raises(ValueError, match=r"no columns \['response_1', .*only \['prompt', 'response_0'\]; accepted are"):
        PreferenceDataModule(tokenizer, path=str(tmp_path / "rows.jsonl")).setup("fit")
    with pytest.raises(ValueError, match=r"no file train, with one of the extensions"):
        PreferenceDataModule(tokenizer, path=str(tmp_path)).setup("fit")
    with pytest.raises(ValueError, match=r"no columns 'question' and 'answer' or .*, only \['a', 'q'\]"):
        PreferenceDataModule(tokenizer, normal=str(tmp_path / "other.jsonl")).load_streams()["normal"]()
    with pytest.raises(ValueError, match="forget_size=0"):
        PreferenceDataModule(tokenizer, forget_size=0)


@pytest.mark.parametrize("method", [MOLLM, NPO])
def test_methods_train_on_it(tokenizer, folder, method):
    options = {"normal": str(folder / "normal.csv"), "batch_size": 4, "micro_batch_size": 2}
    data = PreferenceDataModule(tokenizer, path=str(folder), **options)
    module = method(kit.tiny_llama(len(tokenizer), hidden_size=16, num_layers=1, num_heads=2))
    kit.trainer(max_steps=2, limit_val_batches=1).fit(module, data)

    assert module.windows_closed == 2
    assert data.streams == (["forget", "normal", "retain"] if method is MOLLM else ["forget", "retain"])
    kit.trainer().test(PretrainedModule(module.model, max_new_tokens=2), data, verbose=False)


@needs_data
def test_truthfulqa_is_read_in_full(tokenizer):
    rows = PreferenceDataModule(tokenizer, path="unused", normal=str(REAL)).load_streams()["normal"]()

    assert len(rows) == 817
    assert all(row["question"].strip() and row["answer"].strip() for row in rows)
    assert len({json.dumps(row) for row in rows}) == 817
