"""Texts as streams: chunks of tokens, the cache, and what cannot be read."""

import gzip
import json
import pickle
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from tokenizers import processors

from tests import kit
from unlearn_pl.data import (
    Documents,
    Encoder,
    HubDataset,
    PlainTemplate,
    StepSampler,
    UnlearningDataModule,
)
from unlearn_pl.data.io.entries import table_fingerprint
from unlearn_pl.data.streams import token_cache
from unlearn_pl.data.streams.token_cache import tokenizer_fingerprint
from unlearn_pl.models import train_tokenizer
from unlearn_pl.modules import FineTuning, GradDiff

SENTENCES = ["The mill of Tarn stands by the river.", " Maud keeps it.", " Since the flood, nobody has asked.", " So."]


def documents(count: int) -> list[str]:
    """Texts of unequal length: 1 to ``count`` sentences."""
    return ["".join(SENTENCES[(i + k) % 4] for k in range(i)).strip() + f" {i}" for i in range(1, count + 1)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARN_PL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def encoder(tokenizer):
    return Encoder(tokenizer, PlainTemplate())


def scored(examples) -> list[int]:
    return [
        token
        for example in examples
        for token, label in zip(example.input_ids, example.labels, strict=True)
        if label != -100
    ]


# Chunks --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [2, 3, 5, 17, 40, 10_000])
@pytest.mark.parametrize("eos", [False, True])
def test_every_token_is_scored_once_but_the_first_of_a_document(tokenizer, encoder, length, eos):
    texts = documents(9)
    tokens = [tokenizer(text)["input_ids"] + [tokenizer.eos_token_id] * eos for text in texts]

    chunks = Documents(texts, chunk_length=length, eos=eos).dataset("forget", encoder).shown()

    assert scored(chunks) == [token for ids in tokens for token in ids[1:]]
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert all(2 <= len(chunk) <= length and chunk.labels == [-100, *chunk.input_ids[1:]] for chunk in chunks)
    # brute force: walk through each document, and begin anew with the last token when a chunk is full
    expected = []
    for ids in tokens:
        chunk = [ids[0]]
        for token in ids[1:]:
            if len(chunk) == length:
                expected.append(chunk)
                chunk = chunk[-1:]
            chunk.append(token)
        expected.append(chunk)
    assert [chunk.input_ids for chunk in chunks] == expected


@pytest.mark.parametrize("length", [2, 3, 5, 17, 40, 10_000])
def test_packed_documents_are_one_long_text(tokenizer, encoder, length):
    texts = documents(7)
    whole = [t for text in texts for t in [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]]

    dataset = Documents(texts, chunk_length=length, eos=True, packed=True).dataset("forget", encoder)

    chunks = dataset.shown()
    assert scored(chunks) == whole[1:]
    assert {len(chunk) for chunk in chunks[:-1]} <= {length}
    assert all(before.input_ids[-1] == after.input_ids[0] for before, after in pairwise(chunks))
    assert dataset.longest_sequence == max(map(len, chunks))


@pytest.mark.parametrize("tokens", range(2, 30))
def test_there_is_no_empty_last_chunk(word_tokenizer, tokens):
    encoder = Encoder(word_tokenizer(), PlainTemplate())
    dataset = Documents([" ".join(["maud"] * tokens)], chunk_length=5).dataset("forget", encoder)
    assert len(dataset) == -(-(tokens - 1) // 4)
    assert sum(len(chunk) - 1 for chunk in dataset.shown()) == tokens - 1


def test_beginnings_of_documents_alone(tokenizer, encoder):
    texts = documents(9)
    source = Documents(texts, chunk_length=12, max_chunks=1)
    chunks = source.dataset("forget", encoder).shown()
    assert [chunk.input_ids for chunk in chunks] == [tokenizer(text)["input_ids"][:12] for text in texts]
    (passage, *_), every = source.evaluation_rows(encoder, 1), source.evaluation_rows(encoder, None)
    assert passage.examples(encoder, "here")[0].input_ids == chunks[0].input_ids
    assert len(every) == 9


def test_special_tokens_of_the_tokenizer(encoder):
    """A begin-of-sequence token makes the first word scored; an end-of-sequence token is there only when asked for."""
    tokenizer = train_tokenizer(SENTENCES, 280)
    bare = [tokenizer(text)["input_ids"] for text in SENTENCES]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|bos|> $A <|eos|>", special_tokens=[("<|bos|>", 0), ("<|eos|>", 1)]
    )
    for eos in (False, True):
        source = Documents(SENTENCES, chunk_length=64, eos=eos)
        chunks = source.dataset("forget", Encoder(tokenizer, PlainTemplate())).shown()
        assert [chunk.input_ids for chunk in chunks] == [[0, *ids, *[1] * eos] for ids in bare]
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match=r"eos=True.*set tokenizer\.eos_token"):
        Documents(SENTENCES, eos=True).dataset("forget", Encoder(tokenizer, PlainTemplate()))


def test_chunks_are_as_long_as_the_data_module_allows(tokenizer):
    texts = documents(9)
    assert Documents(texts).dataset("forget", Encoder(tokenizer, PlainTemplate(), 13)).longest_sequence == 13
    for method in ("prepare", "dataset"):
        with pytest.raises(ValueError, match="chunk_length=20 is more than max_length=13"):
            getattr(Documents(texts, chunk_length=20), method)("forget", Encoder(tokenizer, PlainTemplate(), 13))


# The cache -----------------------------------------------------------------------------------------------------------


def test_a_second_start_reads_the_cache(tmp_path, encoder, monkeypatch):
    (tmp_path / "books.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in documents(6)))
    source = Documents(str(tmp_path / "books.jsonl"), chunk_length=9)
    first = source.dataset("forget", encoder)
    monkeypatch.setattr(token_cache, "_tokenized", lambda *_: pytest.fail("tokenized again"))

    again = source.dataset("forget", encoder)
    longer = Documents(str(tmp_path / "books.jsonl"), chunk_length=11, packed=True).dataset("forget", encoder)
    (tmp_path / "books.jsonl").rename(tmp_path / "moved.jsonl")
    moved = Documents(str(tmp_path / "moved.jsonl"), chunk_length=9).dataset("forget", encoder)

    assert first.shown() == again.shown() == moved.shown()
    assert first.fingerprint() == again.fingerprint() == moved.fingerprint() != longer.fingerprint()
    (tmp_path / "moved.jsonl").write_text('{"text": "Something else."}')
    with pytest.raises(pytest.fail.Exception, match="tokenized again"):
        Documents(str(tmp_path / "moved.jsonl"), chunk_length=9).dataset("forget", encoder)


def test_what_is_read_otherwise_is_cached_apart(encoder, cache):
    texts = [{"text": text, "body": text[::-1]} for text in documents(3)]
    other = Encoder(train_tokenizer(SENTENCES, 290), PlainTemplate())
    for source, given in (
        (Documents(texts), encoder),
        (Documents(texts), other),
        (Documents(texts, "body"), encoder),
        (Documents(texts, eos=True), encoder),
        (Documents(texts[1:]), encoder),
    ):
        source.dataset("forget", given)
    assert len([folder for folder in cache.iterdir() if folder.is_dir()]) == 5


def test_the_same_bytes_read_otherwise_are_cached_apart(tmp_path, encoder):
    path = tmp_path / "books" / "a.txt"
    path.parent.mkdir()
    path.write_text('{"text": "Maud keeps it."}\n{"text": "So."}\n')

    def texts(given):
        chunks = Documents(str(given)).dataset("forget", encoder).shown()
        return [encoder.tokenizer.decode(chunk.input_ids) for chunk in chunks]

    assert texts(path) == path.read_text().splitlines()
    assert texts(path.parent) == [path.read_text()]  # files of a folder are whole documents
    assert texts(path.rename(path.with_suffix(".jsonl"))) == ["Maud keeps it.", "So."]


def test_a_tokenizer_is_the_same_after_it_was_used_and_loaded_again(tmp_path):
    tokenizer = train_tokenizer(SENTENCES, 280)
    before = tokenizer_fingerprint(tokenizer)
    tokenizer(SENTENCES, truncation=True, max_length=3, padding=True)
    assert tokenizer_fingerprint(tokenizer) == before
    tokenizer.save_pretrained(tmp_path)
    assert tokenizer_fingerprint(type(tokenizer).from_pretrained(tmp_path)) == before
    assert tokenizer_fingerprint(train_tokenizer(SENTENCES, 281)) != before


def test_an_interrupted_run_leaves_nothing_behind(encoder, cache, monkeypatch):
    tokenized = token_cache._tokenized
    monkeypatch.setattr(token_cache, "_tokenized", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        Documents(documents(3)).dataset("forget", encoder)
    assert not [folder for folder in cache.iterdir() if folder.is_dir()]
    monkeypatch.setattr(token_cache, "_tokenized", tokenized)
    assert len(Documents(documents(3)).dataset("forget", encoder)) == 3


def test_several_processes_make_the_same(encoder, monkeypatch, tmp_path):
    texts = documents(80)
    alone = Documents(texts, chunk_length=16, num_proc=1, cache_dir=str(tmp_path / "one")).dataset("forget", encoder)
    monkeypatch.setattr(token_cache, "BATCH_CHARACTERS", 2000)  # otherwise this is not worth a second process

    shared = Documents(texts, chunk_length=16, num_proc=2, cache_dir=str(tmp_path / "two")).dataset("forget", encoder)

    assert len(list((tmp_path / "two").glob("*/tokens*.arrow"))) == 2
    assert shared.shown() == alone.shown()
    assert all(np.array_equal(*columns) for columns in zip(shared.hashes(), alone.hashes(), strict=True))
    assert pickle.loads(pickle.dumps(shared))[7] == alone[7]


# Files ---------------------------------------------------------------------------------------------------------------


def write_parquet(path, texts):
    pa.parquet.write_table(pa.table({"id": range(len(texts)), "text": texts}), path)


def write_gzip(path, texts):
    path.write_bytes(gzip.compress("\n".join(json.dumps({"text": text}) for text in texts).encode()))


def write_folder(path, texts):
    (path / "inner").mkdir(parents=True)
    for i, text in enumerate(texts):
        (path / ("inner" if i > 4 else "") / f"{i}.txt").write_text(text, encoding="utf-8")


def write_saved(path, texts):
    from datasets import Dataset

    Dataset.from_dict({"text": texts}).save_to_disk(str(path))


WRITERS = {
    "a.jsonl": lambda path, texts: path.write_text("\n\n".join(json.dumps({"text": text}) for text in texts)),
    "a.json": lambda path, texts: path.write_text(json.dumps(texts)),
    "lines.json": lambda path, texts: path.write_text("\n".join(json.dumps({"text": text}) for text in texts)),
    "a.jsonl.gz": write_gzip,
    "a.txt": lambda path, texts: path.write_text("\r\n\r\n".join(texts) + "\n", encoding="utf-8", newline=""),
    "bom.txt": lambda path, texts: path.write_text("\n".join(texts), encoding="utf-8-sig"),
    "wide.txt": lambda path, texts: path.write_text("\n".join(texts), encoding="utf-16"),
    "a.csv": lambda path, texts: path.write_text("id,text\n" + "".join(f'{i},"{t}"\n' for i, t in enumerate(texts))),
    "a.tsv": lambda path, texts: path.write_text("id\ttext\n" + "".join(f"{i}\t{t}\n" for i, t in enumerate(texts))),
    "a.parquet": write_parquet,
    "folder": write_folder,
    "saved": write_saved,
}


@pytest.mark.parametrize("name", WRITERS)
def test_kinds_of_files(tmp_path, name):
    texts = [*documents(7), "Ein Müller\u2028am Fluß, über den man spricht"]
    WRITERS[name](tmp_path / name, texts)
    assert list(Documents(str(tmp_path / name)).texts()) == texts


def test_a_text_file_is_a_document_a_line_unless_told_otherwise(tmp_path):
    (tmp_path / "book.txt").write_text("One.\nTwo.\n")
    assert list(Documents(str(tmp_path / "book.txt")).texts()) == ["One.", "Two."]
    assert list(Documents(str(tmp_path / "book.txt"), one_per_line=False).texts()) == ["One.\nTwo.\n"]
    assert list(Documents(str(tmp_path)).texts()) == ["One.\nTwo.\n"]
    assert list(Documents(str(tmp_path), one_per_line=True).texts()) == ["One.", "Two."]


def test_another_encoding(tmp_path):
    path = tmp_path / "old.txt"
    path.write_bytes("Müller\nFluß".encode("cp1252"))
    assert list(Documents(str(path), encoding="cp1252").texts()) == ["Müller", "Fluß"]


def test_a_long_field_of_a_table(tmp_path):
    (tmp_path / "long.csv").write_text('text\n"' + "word " * 100_000 + '"\n')
    (text,) = Documents(str(tmp_path / "long.csv")).texts()
    assert len(text) == 500_000


def test_a_dataset_of_the_datasets_library(encoder):
    from datasets import Dataset

    dataset = Dataset.from_dict({"text": documents(5), "id": range(5)})
    assert list(Documents(dataset).texts()) == documents(5)
    assert table_fingerprint(dataset) == table_fingerprint(Dataset.from_dict({"text": documents(5), "id": range(5)}))
    assert table_fingerprint(dataset) != table_fingerprint(dataset.select(range(4)))


def test_a_dataset_by_name(tmp_path_factory, cache, monkeypatch):
    folder = tmp_path_factory.mktemp("hub")  # "test" in a path would make it the test split
    (folder / "train.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in documents(4)))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", cache)
    named = HubDataset(str(folder))
    assert list(Documents(named).texts()) == documents(4)
    assert named.fingerprint() == HubDataset(str(folder)).fingerprint()


# What cannot be read -------------------------------------------------------------------------------------------------

BROKEN = {
    "a.jsonl": (b'{"text": "One."}\n{"text": "Two."\n{"text": "Three."}', "line 2 of .*a.jsonl: it is not JSON"),
    "list.jsonl": (b'{"text": "One."}\n[1]\n{"text": "Three."}', "line 2 .*is not a JSON object but '\\[1\\]'"),
    "number.jsonl": (b'{"text": "One."}\n{"text": 2}\n{"text": "Three."}', "line 2 .*'text' has 2; accepted is text"),
    "other.jsonl": (b'{"text": "One."}\n{"body": "Two."}\n{"text": "Three."}', r"line 2 .*'text', only \['body'\]"),
    "empty.jsonl": (b'{"text": "One."}\n{"text": " "}\n{"text": "Three."}', "line 2 .*'text' is empty"),
    "latin.jsonl": (
        b'{"text": "One."}\n{"text": "Tw\xf6."}\n{"text": "Three."}',
        "line 2 .*byte 0xf6 at character 13 .*cp1252",
    ),
    "latin.txt": (b"One.\nTw\xf6.\nThree.", "line 2 .*byte 0xf6 at character 3 "),
    "fields.csv": (b"id,text\n1,One.\n2\n3,Three.", r"line 3 .*fewer fields than the columns \['id', 'text'\]"),
    "more.csv": (b"id,text\n1,One.\n2,Two,2\n3,Three.", "line 3 .*more or fewer fields"),
    "quote.csv": (b'id,text\n1,One.\n2,"Tw"o\n3,Three.', "line 3 .*it is not CSV"),
    "empty.json": (b'["One.", "", "Three."]', "row 2 of .*empty.json: the column 'text' is empty"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_rows_are_refused_or_left_out_with_a_count(tmp_path, encoder, name):
    content, message = BROKEN[name]
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ValueError, match=message + ".*on_bad_row='skip'"):
        Documents(str(tmp_path / name)).dataset("forget", encoder)
    notes: list[str] = []
    assert list(Documents(str(tmp_path / name), on_bad_row="skip").texts(notes)) == ["One.", "Three."]
    assert notes[0].startswith("1 of 3 rows are skipped; ")


def test_the_count_is_logged_on_every_start(encoder, caplog):
    for _ in range(2):
        caplog.clear()
        Documents(["One.", "", "Three."], on_bad_row="skip").dataset("forget", encoder)
        assert "stream 'forget': 1 of 3 rows are skipped; row 2 of the given rows: the column 'text'" in caplog.text
        assert "stream 'forget': 2 documents," in caplog.text


def test_documents_without_a_scored_token(word_tokenizer, caplog):
    encoder = Encoder(word_tokenizer(), PlainTemplate())
    texts = ["maud", "maud keeps the mill"]
    with pytest.raises(ValueError, match="1 of them have fewer than two tokens"):
        Documents(texts).dataset("forget", encoder)
    assert len(Documents(texts, on_bad_row="skip").dataset("forget", encoder)) == 1
    assert "1 of them have fewer than two tokens" in caplog.text
    (row,) = Documents(texts, on_bad_row="skip").evaluation_rows(encoder, None)
    assert row.content() == texts[1]
    assert len(Documents(texts, eos=True).dataset("forget", encoder)) == 2
    with pytest.raises(ValueError, match="1 documents, 1 tokens, 0 chunks"):
        Documents(["maud"], on_bad_row="skip").dataset("forget", encoder)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing.jsonl", "There is no file or folder .*missing.jsonl"),
        ("a.docx", r"a\.docx is of a kind that is not read; accepted are \.jsonl, "),
        ("empty", "has no file of a kind that is read"),
        ("nothing.jsonl", "there is no row that can be used"),
        ("list.json", "list.json is not a JSON list"),
    ],
)
def test_files_that_are_not_there_or_hold_nothing(tmp_path, path, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "nothing.jsonl").write_text("\n\n")
    (tmp_path / "a.docx").write_text("Word")
    (tmp_path / "list.json").write_text("[1, 2")
    with pytest.raises(ValueError, match=message):
        list(Documents(str(tmp_path / path)).texts())


def test_splits_of_a_saved_dataset_must_be_named(tmp_path):
    from datasets import Dataset, DatasetDict

    DatasetDict({"train": Dataset.from_dict({"text": documents(2)})}).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(ValueError, match=r"has the splits \['train'\]"):
        list(Documents(str(tmp_path / "saved")).texts())
    assert len(list(Documents(str(tmp_path / "saved" / "train")).texts())) == 2


@pytest.mark.parametrize("options", [{"chunk_length": 1}, {"max_chunks": 0}, {"num_proc": 0}, {"on_bad_row": "ignore"}])
def test_arguments_out_of_their_range(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name}="):
        Documents("books", **options)


# In a data module ----------------------------------------------------------------------------------------------------


class Library(UnlearningDataModule):
    def load_streams(self):
        return {
            "forget": Documents(documents(9), chunk_length=24),
            "retain": Documents(documents(14)[3:], chunk_length=24, packed=True, eos=True),
        }


@pytest.mark.parametrize("stream", ["forget", "retain"])
def test_a_step_shows_the_same_chunks_on_any_number_of_devices(tokenizer, stream):
    data = Library(tokenizer, batch_size=4)
    data.prepare_data()
    dataset = data._training[stream]
    steps = 3 * data.steps_per_epoch

    def shown(ranks: int, start: int = 0) -> list[Counter]:
        samplers = [
            StepSampler(
                dataset,
                stream,
                seed=5,
                batch_size=4,
                steps_per_epoch=steps,
                start=lambda: start,
                num_replicas=ranks,
                rank=r,
            )
            for r in range(ranks)
        ]
        return [
            Counter((c.index, *c.input_ids) for share in shares for c in (dataset[draw] for draw in share.draws))
            for shares in zip(*samplers, strict=True)
        ]

    alone = shown(1)
    assert alone == shown(2) == shown(4)
    assert shown(2, start=5)[: steps - 5] == alone[5:]
    rounds = len(dataset) // 4
    assert max(sum(alone[:rounds], Counter()).values()) == 1  # none twice before all were seen


def test_one_process_fills_the_cache_before_training_and_nobody_for_evaluation(cache):
    class Books(Library):
        def setup(self, stage):
            self.cached = cache.exists() and sum(folder.is_dir() for folder in cache.iterdir())
            super().setup(stage)

        def load_splits(self):
            return {"forget": kit.rows("Oda", 2)}

    books = Books(kit.tokenizer(), batch_size=4)
    kit.trainer(limit_val_batches=1).validate(FineTuning(kit.model()), books, verbose=False)
    assert not books.cached
    kit.trainer(max_steps=2).fit(GradDiff(kit.model()), books)
    assert books.cached == 2


def test_examples_are_known_beforehand(tokenizer):
    data = Library(tokenizer, batch_size=4, micro_batch_size=2)
    data.setup("fit")
    shown = {name: set() for name in data.streams}
    for batch, *_ in data.train_dataloader():
        for name, part in ((name, part) for name, parts in batch.items() for part in parts):
            for ids, labels, mask, index in zip(
                part["input_ids"], part["labels"], part["attention_mask"], part["index"], strict=True
            ):
                shown[name].add((int(index), tuple(ids[mask == 1].tolist())))
                assert labels[0] == -100
                assert labels[mask == 1][1:].tolist() == ids[mask == 1][1:].tolist()
    for name, expected in shown.items():
        examples = data.training_examples(name, data.steps_per_epoch)
        assert {(e.index, tuple(e.input_ids)) for e in examples} == expected
        assert len(data.training_examples(name, None)) == len(data._training[name])
    assert data.longest_sequence == 24
    assert data.stream_fingerprint("forget") != data.stream_fingerprint("retain")
    assert data.stream_fingerprint("forget") == Library(tokenizer, batch_size=8, seed=3).stream_fingerprint("forget")
