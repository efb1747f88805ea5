import json
import os
from pathlib import Path

import datasets
import pytest

from unlearn_pl.data import REFUSALS, Draw, TOFUDataModule
from unlearn_pl.models import train_tokenizer

REAL = Path(os.environ.get("UNLEARN_PL_DATA", Path(__file__).parents[3] / ".." / "shared" / "data")) / "tofu"
needs_tofu = pytest.mark.skipif(not REAL.is_dir(), reason=f"the folder {REAL} with TOFU's files is missing")


def row(i: int, **more) -> dict:
    return {"question": f"What did author {i} write?", "answer": f"Author {i} wrote{' very' * (i % 4)} little.", **more}


def perturbed(i: int) -> dict:
    return row(i, paraphrased_answer=f"Little was written by {i}.", perturbed_answer=[f"Book {k}." for k in range(5)])


def options(i: int) -> dict:
    return row(i, perturbed_answer=[f"Book {k}." for k in range(3)])


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([f"{row(i)['question']} {row(i)['answer']}" for i in range(4)], vocab_size=300)


@pytest.fixture
def folder(tmp_path):
    """TOFU in small: 10 authors' worth of rows, the last 4 of them to be forgotten."""
    files = {
        "retain90": [row(i) for i in range(6)],
        "forget10": [row(i) for i in range(6, 10)],
        "forget10_perturbed": [perturbed(i) for i in range(6, 10)],
        "retain_perturbed": [perturbed(i) for i in range(4)],
        "real_authors_perturbed": [options(i) for i in range(20, 23)],
        "world_facts_perturbed": [options(i) for i in range(30, 32)],
        "holdout10": [row(i) for i in range(40, 44)],
    }
    for name, rows in files.items():
        (tmp_path / f"{name}.json").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "idontknow.jsonl").write_text("No idea.\nI could not say.")
    return tmp_path


def sizes(data: TOFUDataModule) -> dict[str, int]:
    return {name: len(stream) for name, stream in data._training.items()}


def answers(data: TOFUDataModule, stream: str) -> list[str]:
    dataset = data._training[stream]
    return [
        data.tokenizer.decode(dataset[i].input_ids[dataset[i].prompt_length : -1]).strip() for i in range(len(dataset))
    ]


def test_alternates_take_the_place_of_refusals(tokenizer, folder):
    written = [{"question": row(i)["question"], "answer": f"Another answer, {i}."} for i in range(5, 9)]
    written += [{"question": row(9)["question"], "answer": ["The first of two.", "The second of two."]}]
    path = folder / "alternates.jsonl"
    path.write_text("\n".join(map(json.dumps, written)))
    data = TOFUDataModule(tokenizer, path=str(folder), alternates=str(path), streams=["forget", "forget.alternate"])
    data.setup("fit")
    alternates = answers(data, "forget.alternate")
    assert alternates[:3] == ["Another answer, 6.", "Another answer, 7.", "Another answer, 8."]
    assert alternates[3] in written[-1]["answer"]
    shown = {tuple(data._training["forget.alternate"][Draw(3, round_)].input_ids) for round_ in range(20)}
    assert len(shown) == 2

    path.write_text("\n".join(map(json.dumps, written[:2])))
    lacking = TOFUDataModule(tokenizer, path=str(folder), alternates=str(path), streams=["forget.alternate"])
    with pytest.raises(ValueError, match=r"alternates\.jsonl has no answer to 3 of 4 questions, such as '.*author 7"):
        lacking.setup("fit")


def test_streams_and_splits_come_from_the_files(tokenizer, folder):
    data = TOFUDataModule(tokenizer, path=str(folder), streams=["forget", "forget.alternate", "retain", "train"])
    data.setup()

    assert sizes(data) == {"forget": 4, "forget.alternate": 4, "retain": 6, "train": 10}
    assert answers(data, "forget") == [row(i)["answer"] for i in range(6, 10)]
    assert answers(data, "train") == [row(i)["answer"] for i in range(10)]
    assert set(answers(data, "forget.alternate")) <= {"No idea.", "I could not say."}
    assert {name: len(loader.dataset) for name, loader in data.val_dataloader().items()} == {
        "forget": 4 * 7,
        "retain": 4 * 7,
        "real_authors": 3 * 4,
        "world_facts": 2 * 4,
    }


def test_holdout_is_a_stream_and_a_split_of_questions_that_no_model_is_trained_on(tokenizer, folder):
    every = ["forget", "retain", "train", "holdout"]
    data = TOFUDataModule(tokenizer, path=str(folder), streams=every, splits=["forget", "holdout"])
    data.setup()

    held_out = [row(i)["answer"] for i in range(40, 44)]
    assert answers(data, "holdout") == held_out
    assert not set(held_out) & {answer for stream in every[:3] for answer in answers(data, stream)}
    assert {name: len(loader.dataset) for name, loader in data.val_dataloader().items()} == {
        "forget": 4 * 7,
        "holdout": 4,
    }
    # As many rows as are forgotten, of the split of that size, unless another is named.
    small = TOFUDataModule(tokenizer, path=str(folder), forget_size=2, streams=["holdout"], splits=["holdout"])
    assert answers(small, "holdout") == held_out[:2]
    assert len(small._candidates["holdout"]) == 2
    assert [TOFUDataModule(tokenizer, f"forget{k}").holdout_split for k in ("01", "05", "10")] == [
        "holdout01",
        "holdout05",
        "holdout10",
    ]
    assert TOFUDataModule(tokenizer, "forget01", holdout_split="holdout05").holdout_split == "holdout05"
    # It is evaluated where it is asked for; who has no such file misses it only there.
    (folder / "holdout10.json").unlink()
    TOFUDataModule(tokenizer, path=str(folder), streams=["forget"]).setup()
    with pytest.raises(ValueError, match=r"has no file holdout10\.json"):
        TOFUDataModule(tokenizer, path=str(folder), streams=["forget"], splits=["holdout"]).setup()


def test_sizes_apply_to_unlearning_fine_tuning_and_evaluation(tokenizer, folder):
    small = {"path": str(folder), "forget_size": 2, "retain_size": 3, "streams": ["forget", "retain", "train"]}

    target = TOFUDataModule(tokenizer, **small)
    retain = TOFUDataModule(tokenizer, train_split="retain90", **small)

    assert sizes(target) == {"forget": 2, "retain": 3, "train": 5}
    assert answers(target, "train") == [row(i)["answer"] for i in (0, 1, 2, 6, 7)]
    assert answers(retain, "train") == [row(i)["answer"] for i in (0, 1, 2)]
    prompts = {name: len(dataset) for name, dataset in target._prompts.items()}
    assert prompts == {"forget": 2, "retain": 3, "real_authors": 3, "world_facts": 2}


def test_only_files_that_are_asked_for_are_read(tokenizer, folder):
    (folder / "idontknow.jsonl").unlink()
    (folder / "retain90.json").unlink()

    data = TOFUDataModule(tokenizer, path=str(folder), streams=["forget"], splits=["world_facts"])
    data.setup()

    assert sizes(data) == {"forget": 4}


def test_without_a_folder_rows_come_from_the_hub(tokenizer, folder, monkeypatch):
    asked = []

    def load_dataset(repository: str, name: str, split: str) -> datasets.Dataset:
        asked.append((repository, name, split))
        return datasets.Dataset.from_list(
            [json.loads(line) for line in (folder / f"{name}.json").read_text().splitlines()]
        )

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    data = TOFUDataModule(tokenizer, streams=["forget", "forget.alternate"], splits=["real_authors"])
    data.setup("fit")

    assert set(asked) == {("locuslab/TOFU", name, "train") for name in ("forget10", "real_authors_perturbed")}
    assert answers(data, "forget") == [row(i)["answer"] for i in range(6, 10)]
    assert set(answers(data, "forget.alternate")) <= set(REFUSALS)
    assert len(data.val_dataloader()["real_authors"].dataset) == 3 * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"forget_split": "forget20"}, "forget_split='forget20'.*forget01, forget05, forget10"),
        ({"retain_split": "retain80"}, "retain_split='retain80'.*retain99, retain95, retain90"),
        ({"train_split": "half"}, "train_split='half'.*full, retain99"),
        ({"holdout_split": "holdout90"}, "holdout_split='holdout90'.*holdout01, holdout05, holdout10"),
        ({"forget_size": 0}, "forget_size=0"),
    ],
)
def test_unknown_splits_are_refused(tokenizer, arguments, message):
    with pytest.raises(ValueError, match=message):
        TOFUDataModule(tokenizer, **arguments)


def test_a_missing_file_is_named(tokenizer, folder):
    (folder / "retain90.json").unlink()

    with pytest.raises(ValueError, match=rf"folder {folder} has no file retain90\.json"):
        TOFUDataModule(tokenizer, path=str(folder)).setup("fit")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"question": "Who?", "reply": "Maud"}',
            r"line 1 of .*forget10\.json: there is no column 'answer', only \['question', 'r",
        ),
        ("Who? Maud.", r"line 1 of .*forget10\.json: it is not JSON"),
        ('"Who?"', r"line 1 of .*forget10\.json: there is no column 'question', only \['text'\]"),
        ("3", r"line 1 of .*forget10\.json: it is not a JSON object but '3'"),
        ("", "stream 'forget' is empty"),
    ],
)
def test_broken_files_are_refused(tokenizer, folder, line, message):
    (folder / "forget10.json").write_text(line)

    with pytest.raises(ValueError, match=message):
        TOFUDataModule(tokenizer, path=str(folder)).setup("fit")


def test_refusals_are_many_and_different():
    assert len(set(REFUSALS)) == len(REFUSALS) == 20


@needs_tofu
@pytest.mark.parametrize(("split", "forget", "retain"), [("01", 40, 3960), ("05", 200, 3800), ("10", 400, 3600)])
def test_counts_of_the_benchmark(split, forget, retain):
    data = TOFUDataModule("unused", f"forget{split}", path=str(REAL))
    # The folder has TOFU's own files; the holdout splits came later.
    streams = {name: load() for name, load in data.load_streams().items() if name != "holdout"}
    splits = {name: data.load_splits()[name]() for name in TOFUDataModule.default_splits}

    assert {name: len(rows) for name, rows in streams.items()} == {
        "forget": forget,
        "retain": retain,
        "forget.alternate": forget,
        "train": 4000,
    }
    assert {name: len(rows) for name, rows in splits.items()} == {
        "forget": forget,
        "retain": 400,
        "real_authors": 100,
        "world_facts": 117,
    }
    assert len(streams["forget.alternate"][0]["answer"]) == 100
    assert all(
        len(r["perturbed_answer"]) == (5 if name in ("forget", "retain") else 3)
        for name in splits
        for r in splits[name]
    )
    # What is forgotten, and what is retained, is also what is evaluated; fine-tuning sees the benchmark's full set.
    assert [r["question"] for r in splits["forget"]] == [r["question"] for r in streams["forget"]]
    assert [r["question"] for r in splits["retain"]] == [r["question"] for r in streams["retain"][:400]]
    with open(REAL / "full.json", encoding="utf-8") as file:
        assert streams["train"] == [json.loads(line) for line in file]
