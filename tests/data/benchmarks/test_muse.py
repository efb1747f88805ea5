import json
import logging
import os
from pathlib import Path

import datasets
import pytest

from tests import kit
from tests.data.benchmarks.benchmark_folders import muse, pairs, text
from unlearn_pl.data import MUSEDataModule, PlainTemplate
from unlearn_pl.models import train_tokenizer
from unlearn_pl.modules import MOLLM, NPO, PretrainedModule

REAL = Path(os.environ.get("UNLEARN_PL_DATA", Path(__file__).parents[3] / ".." / "shared" / "data")) / "muse_news"
needs_muse = pytest.mark.skipif(not REAL.is_dir(), reason=f"the folder {REAL} with MUSE's files is missing")
SPLITS = ["verbmem_forget", "knowmem_forget", "knowmem_retain"]
PRIVLEAK = ["privleak_forget", "privleak_retain", "privleak_holdout"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([text(i) for i in range(9)], vocab_size=400)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return muse(tmp_path_factory.mktemp("muse"))


def texts(data: MUSEDataModule, stream: str) -> list[str]:
    examples = data._training[stream].shown()
    return [data.tokenizer.decode(example.input_ids) for example in examples]


def test_streams_are_the_texts_in_chunks(tokenizer, folder):
    every = ["forget", "retain", "train", "holdout"]
    data = MUSEDataModule(tokenizer, path=str(folder), streams=every, chunk_length=64)
    data.setup("fit")

    assert texts(data, "forget") == [text(i) for i in range(6)]
    assert texts(data, "retain") == [text(i, "bakery") for i in range(7)]
    assert texts(data, "train") == [text(i, place) for place in ("mill", "bakery", "forge") for i in range(8)]
    assert texts(data, "holdout") == [text(i, "quarry") for i in range(3)]
    other = MUSEDataModule(tokenizer, path=str(folder), streams=["holdout"], holdout="raw/retain2")
    assert texts(other, "holdout") == [text(i, "forge") for i in range(5)]
    short = MUSEDataModule(tokenizer, path=str(folder), streams=["forget"], chunk_length=16)
    chunks = short._training["forget"].shown()
    assert max(map(len, chunks)) == short._training["forget"].longest_sequence == 16
    ids = [token for i in range(6) for token in tokenizer(text(i))["input_ids"][1:]]
    assert [token for chunk in chunks for token in chunk.input_ids[1:]] == ids


def test_texts_without_a_word_are_counted_in_the_log(tokenizer, folder, caplog):
    with caplog.at_level(logging.INFO):
        MUSEDataModule(tokenizer, path=str(folder), streams=["forget"]).setup("fit")

    told = [message for message in caplog.messages if "are skipped" in message]
    assert len(told) == 1
    assert "1 of 7 rows are skipped" in told[0]
    assert "row 5 of" in told[0]


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [("scal/forget_1", 0, 6), ("scal/forget_3", 0, 18), ("sust/forget_1", 0, 6), ("sust/forget_3", 12, 18)],
)
def test_folds_and_requests(tokenizer, folder, name, first, last):
    data = MUSEDataModule(tokenizer, path=str(folder), forget=name, streams=["forget"])

    assert texts(data, "forget") == [text(i) for i in range(first, last)]


def test_the_retain_model_never_sees_the_forget_texts(tokenizer, folder):
    data = MUSEDataModule(tokenizer, path=str(folder), train=["train/retain2", "train/retain1"], streams=["train"])

    assert texts(data, "train") == [text(i, place) for place in ("forge", "bakery") for i in range(8)]


def prompts(data: MUSEDataModule, split: str) -> list[tuple[str, str]]:
    dataset = sorted(data._prompts[split], key=lambda prompt: prompt.index)
    return [(data.tokenizer.decode(prompt.input_ids), prompt.answer) for prompt in dataset]


def scored(data: MUSEDataModule, split: str) -> list[str]:
    dataset = sorted(data._candidates[split], key=lambda example: (example.index, example.choice))
    return [data.tokenizer.decode(example.input_ids[example.prompt_length :]) for example in dataset]


def test_knowledge_is_asked_for_after_ten_answered_questions(tokenizer, folder):
    data = MUSEDataModule(tokenizer, path=str(folder), splits=SPLITS)
    shots = "".join(f"Question: {row['question']}\nAnswer: {row['answer']}\n\n" for row in pairs(10))

    for split in ("knowmem_forget", "knowmem_retain"):
        assert prompts(data, split) == [
            (f"{shots}Question: {row['question']}\nAnswer:", row["answer"]) for row in pairs(4, 20)
        ]
        assert scored(data, split) == [f" {row['answer']}" for row in pairs(4, 20)]
    few = MUSEDataModule(tokenizer, path=str(folder), splits=["knowmem_forget"], shots=0)
    assert prompts(few, "knowmem_forget")[0][0] == f"Question: {pairs(1, 20)[0]['question']}\nAnswer:"
    few = MUSEDataModule(tokenizer, path=str(folder), splits=["knowmem_forget"], shots=2)
    assert prompts(few, "knowmem_forget")[0][0].count("Question: ") == 3


def test_published_prompts_end_with_a_space(tokenizer, folder):
    """The authors and OpenUnlearning tokenize "Answer: "; prompts without the space are the default."""
    shots = "".join(f"Question: {row['question']}\nAnswer: {row['answer']}\n\n" for row in pairs(10))
    published = [f"{shots}Question: {row['question']}\nAnswer: " for row in pairs(4, 20)]
    data = MUSEDataModule(tokenizer, path=str(folder), splits=["knowmem_forget"], compat="openunlearning")
    found = sorted(data._prompts["knowmem_forget"], key=lambda prompt: prompt.index)
    assert [prompt.input_ids for prompt in found] == [tokenizer(text)["input_ids"] for text in published]
    assert [prompt.answer for prompt in found] == [row["answer"] for row in pairs(4, 20)]
    default = MUSEDataModule(tokenizer, path=str(folder), splits=["knowmem_forget"])
    assert [text for text, _ in prompts(default, "knowmem_forget")] == [text.rstrip(" ") for text in published]
    # What is scored is the same text; answers of the two kinds of prompts are never compared with each other.
    texts = [[e.input_ids for e in d._candidates["knowmem_forget"]] for d in (data, default)]
    assert texts[0] == texts[1]
    assert data.question_hashes() != default.question_hashes()
    with pytest.raises(ValueError, match="compat must be None or 'openunlearning', but is 'muse'"):
        MUSEDataModule(tokenizer, compat="muse")


def test_verbatim_texts_are_continued(tokenizer, folder):
    data = MUSEDataModule(tokenizer, path=str(folder), splits=["verbmem_forget"])

    assert prompts(data, "verbmem_forget") == [(text(i)[:20].rstrip(), text(i)[20:].lstrip()) for i in range(3)]
    wholes = {data.tokenizer.decode(example.input_ids) for example in data._candidates["verbmem_forget"]}
    assert wholes == {f"{text(i)[:20].rstrip()} {text(i)[20:].lstrip()}" for i in range(3)}


def test_leakage_is_judged_by_the_beginnings_of_texts(tokenizer, folder):
    data = MUSEDataModule(tokenizer, path=str(folder), splits=PRIVLEAK, chunk_length=12)

    for i, split in enumerate(PRIVLEAK):
        examples = sorted(data._candidates[split], key=lambda example: example.index)
        expected = [tokenizer(text(5 * i + k))["input_ids"][:12] for k in range(4)]
        assert [example.input_ids for example in examples] == expected
        assert all(example.prompt_length == 1 for example in examples)
    assert data.predict_dataloader() == {}


def test_the_template_of_the_tokenizer_is_left_out(tokenizer, folder):
    options = {"path": str(folder), "splits": SPLITS}
    data, other = (MUSEDataModule(tokenizer, template=t, **options) for t in (None, PlainTemplate("Q: ", "A: ")))

    assert all(prompts(data, split) == prompts(other, split) for split in SPLITS)


def test_older_names_and_formats_are_found(tokenizer, tmp_path):
    older = {
        "knowmem/retain_qa": "knowmem/retain2_qa",
        "knowmem/retain_qa_icl": "knowmem/retain2_qa_icl",
        "privleak/retain": "privleak/retain2",
    }
    folder = muse(tmp_path)
    for name, old in older.items():
        for file in (tmp_path / name).parent.glob(f"{Path(name).name}.json*"):
            file.rename(tmp_path / f"{old}{''.join(file.suffixes)}")
    (tmp_path / "raw").rename(tmp_path / "main")
    (tmp_path / "main/forget.json.gz").unlink()
    (tmp_path / "main/forget.txt").write_text("\n".join(text(i) for i in range(6)))  # the books are one text each
    rows = [{"text": text(i, "bakery")} for i in range(7)]
    (tmp_path / "main/retain1.json").unlink()
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "main/retain1-00000-of-00001.parquet")
    data = MUSEDataModule(tokenizer, path=str(folder), streams=["forget", "retain"], splits=[*SPLITS, *PRIVLEAK])
    data.setup()

    assert texts(data, "forget") == ["\n".join(text(i) for i in range(6))]
    assert texts(data, "retain") == [row["text"] for row in rows]
    assert {name: len(loader.dataset) for name, loader in data.val_dataloader().items()} == {
        "verbmem_forget": 3,
        **dict.fromkeys([*SPLITS[1:], *PRIVLEAK], 4),
    }


def test_without_a_folder_rows_come_from_the_hub(tokenizer, folder, monkeypatch):
    asked = []

    def load_dataset(repository: str, config: str, split: str) -> datasets.Dataset:
        asked.append((repository, config, split))
        found = {"raw/forget": [text(0), ""], "privleak/holdout": [text(1)]}.get(f"{config}/{split}")
        rows = pairs(3) if found is None else [{"text": each} for each in found]
        return datasets.Dataset.from_list(rows)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    options = {"streams": ["forget"], "splits": ["privleak_holdout", "knowmem_retain"]}
    data = MUSEDataModule(tokenizer, "books", **options)
    data.setup("fit")

    assert set(asked) == {
        ("muse-bench/MUSE-Books", "raw", "forget"),
        ("muse-bench/MUSE-Books", "privleak", "holdout"),
        ("muse-bench/MUSE-Books", "knowmem", "retain_qa"),
        ("muse-bench/MUSE-Books", "knowmem", "retain_qa_icl"),
    }
    assert texts(data, "forget") == [text(0)]
    assert len(data.val_dataloader()["knowmem_retain"].dataset) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"corpus": "films"}, "corpus='films' is unknown; accepted are news, books"),
        ({"forget": "raw/forgotten"}, r"forget=\['raw/forgotten'\] is not among the texts of MUSE's news.*raw/forget,"),
        ({"corpus": "books", "forget": "scal/forget_2"}, r"'scal/forget_2'\] is not among .*books"),
        ({"retain": "retain1"}, r"retain=\['retain1'\]"),
        ({"holdout": "privleak"}, r"holdout=\['privleak'\]"),
        ({"train": []}, r"train=\[\]"),
        ({"chunk_length": 1}, "chunk_length=1 must be at least 2"),
        ({"shots": 11}, "shots=11; accepted are 0 to 10"),
    ],
)
def test_unknown_arguments_are_refused(tokenizer, arguments, message):
    with pytest.raises(ValueError, match=message):
        MUSEDataModule(tokenizer, **arguments)


def test_missing_files_and_columns_are_named(tokenizer, tmp_path):
    folder = muse(tmp_path)
    (tmp_path / "raw/retain1.json").unlink()
    (tmp_path / "verbmem/forget.json").write_text(json.dumps([{"prompt": "Maud", "answer": "keeps"}]))

    with pytest.raises(ValueError, match=r"has no file raw/retain1 or main/retain1, with one of the extensions"):
        MUSEDataModule(tokenizer, path=str(folder), streams=["retain"]).setup("fit")
    with pytest.raises(ValueError, match=r"row 1 of .*no column 'gt', only \['answer', 'prompt'\]"):
        MUSEDataModule(tokenizer, path=str(folder), splits=["verbmem_forget"]).setup("validate")


@pytest.mark.parametrize("method", [MOLLM, NPO])
def test_methods_train_on_it(tokenizer, folder, method):
    options = {"batch_size": 4, "micro_batch_size": 2, "chunk_length": 48, "shots": 1, "eval_batch_size": 8}
    data = MUSEDataModule(tokenizer, path=str(folder), **options)
    module = method(kit.tiny_llama(len(tokenizer), hidden_size=16, num_layers=1, num_heads=2))
    kit.trainer(max_steps=2, limit_val_batches=1).fit(module, data)

    assert module.windows_closed == 2
    evaluated = PretrainedModule(module.model, max_new_tokens=2)
    kit.trainer(limit_test_batches=1).test(evaluated, data, verbose=False)


@needs_muse
def test_counts_of_the_benchmark(caplog):
    data = MUSEDataModule("unused", path=str(REAL), retain="privleak/retain")
    with caplog.at_level(logging.INFO):
        streams = {name: list(data.load_streams()[name].path) for name in ("forget", "retain")}
    splits = {name: load() for name, load in data.load_splits().items()}

    assert {name: len(rows) for name, rows in streams.items()} == {"forget": 888, "retain": 100}
    (told,) = [message for message in caplog.messages if "are skipped" in message]
    assert "1 of 889 rows are skipped" in told
    assert "row 822 of" in told  # counted from 1: the empty one has index 821
    assert {name: len(rows) for name, rows in splits.items()} == dict.fromkeys([*SPLITS, *PRIVLEAK], 100)
    requests = [MUSEDataModule("unused", path=str(REAL), forget=f"sust/forget_{k}") for k in (1, 2)]
    first, second = (set(data.load_streams()["forget"].path) for data in requests)
    assert len(second) == 889 - 32
    assert len(first & second) == 62
    for split in SPLITS[1:]:
        assert all(row.text.count("Question: ") == 11 and row.text.endswith("\nAnswer:") for row in splits[split])
