import json
import os
from pathlib import Path

import datasets
import pytest

from tests import kit
from tests.data.benchmarks.benchmark_folders import MILLS, choices, text, wmdp, write
from unlearn_pl.data import Documents, HubDataset, WMDPDataModule
from unlearn_pl.models import train_tokenizer
from unlearn_pl.modules import MOLLM, NPO, PretrainedModule

DATA = Path(os.environ.get("UNLEARN_PL_DATA", Path(__file__).parents[3] / ".." / "shared" / "data"))
REAL = DATA / "wmdp_synthetic"
needs_data = pytest.mark.skipif(not REAL.is_dir(), reason=f"the folder {REAL} with a stand-in for WMDP is missing")


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([text(i) for i in range(9)], vocab_size=400)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return wmdp(tmp_path_factory.mktemp("wmdp"))


def texts(data: WMDPDataModule, stream: str) -> list[str]:
    return [data.tokenizer.decode(example.input_ids) for example in data._training[stream].shown()]


@pytest.mark.parametrize(("domain", "count"), [("bio", 6), ("cyber", 5)])
def test_corpora_are_read_in_every_layout(tokenizer, folder, domain, count):
    data = WMDPDataModule(tokenizer, domain, path=str(folder))
    data.setup("fit")

    # Of the papers (JSON Lines with more columns) only the text; of plain text every line.
    assert texts(data, "forget") == [text(i) for i in range(count)]
    assert texts(data, "retain") == [text(i, "forge") for i in range(7)]


def test_corpora_may_come_from_elsewhere(tokenizer, folder, tmp_path):
    write(tmp_path / "mine.jsonl", [{"note": text(i)} for i in range(4)], lines=True)
    mine = Documents(str(tmp_path / "mine.jsonl"), column="note", chunk_length=8)
    retain = str(folder / "cyber-forget-corpus.lines.txt")
    data = WMDPDataModule(tokenizer, "chem", path=str(folder), forget=mine, retain=retain)
    data.setup("fit")

    assert data._training["forget"].longest_sequence == 8
    assert texts(data, "retain") == [text(i) for i in range(5)]


def test_long_documents_are_cut(tokenizer, folder):
    data = WMDPDataModule(tokenizer, path=str(folder), chunk_length=10, streams=["forget"])
    first = WMDPDataModule(tokenizer, path=str(folder), chunk_length=10, max_chunks=1, streams=["forget"])

    ids = [tokenizer(text(i))["input_ids"] for i in range(6)]
    chunks = data._training["forget"].shown()
    assert [token for chunk in chunks for token in chunk.input_ids[1:]] == [t for each in ids for t in each[1:]]
    assert [chunk.input_ids for chunk in first._training["forget"].shown()] == [each[:10] for each in ids]


def test_questions_are_asked_as_in_lm_eval(tokenizer, folder):
    options = {"mmlu": str(folder / "mmlu.jsonl"), "questions": {"others": str(folder / "wmdp-chem_test.jsonl")}}
    data = WMDPDataModule(tokenizer, "cyber", path=str(folder), **options)
    data.setup("validate")

    assert list(data.val_dataloader()) == ["wmdp_cyber", "mmlu", "others"]
    assert data.predict_dataloader() == {}
    opening = "The following are multiple choice questions (with answers) about"
    for split, rows, about in (
        ("wmdp_cyber", choices(6, "cyber"), f"{opening} cybersecurity.\n\n"),
        ("mmlu", choices(5, "millstone"), f"{opening} college milling.\n\n"),
        ("others", choices(6, "chem"), ""),
    ):
        found = sorted(data._candidates[split], key=lambda example: (example.index, example.choice))
        layout = "{}{}\nA. {}\nB. {}\nC. {}\nD. {}\nAnswer: {}"
        expected = [
            layout.format(about, row["question"].strip(), *row["choices"], letter) for row in rows for letter in "ABCD"
        ]
        assert [tokenizer.decode(example.input_ids) for example in found] == expected
        assert [example.target for example in found] == [row["answer"] for row in rows for _ in range(4)]


def test_wikitext_is_scored_article_by_article(tokenizer, folder):
    data = WMDPDataModule(
        tokenizer, path=str(folder), wikitext=str(folder / "wiki.txt"), splits=["wikitext"], chunk_length=16
    )
    found = sorted(data._candidates["wikitext"], key=lambda example: (example.index, example.choice))

    for i, name in enumerate(MILLS[:3]):
        article = f"= {name} = \n \n {text(i)} \n = = Rye = = \n {text(i + 1)}"
        ids = tokenizer(article)["input_ids"]
        windows = [example for example in found if example.index == i]
        assert [token for example in windows for token in example.input_ids[1:]] == ids[1:]
        assert len(windows) == -(-(len(ids) - 1) // 15)


def test_without_a_folder_everything_but_the_gated_corpus_comes_from_the_hub(tokenizer, monkeypatch):
    asked = []

    def load_dataset(repository: str, config: str, split: str) -> datasets.Dataset:
        asked.append((repository, config, split))
        rows = {
            "cais/wmdp": choices(2, "cyber"),
            "cais/wmdp-corpora": [{"text": text(i)} for i in range(3)],
            "cais/mmlu": [{**row, "subject": "milling"} for row in choices(2, "mill")],
            "Salesforce/wikitext": [{"text": line} for line in ["", " = Tarn = \n", "", text(0)]],
        }[repository]
        return datasets.Dataset.from_list(rows)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    data = WMDPDataModule(tokenizer, "cyber", splits=["wmdp_cyber", "mmlu", "wikitext"])
    data.setup("fit")

    assert set(asked) == {
        ("cais/wmdp-corpora", "cyber-forget-corpus", "train"),
        ("cais/wmdp-corpora", "cyber-retain-corpus", "train"),
        ("cais/wmdp", "wmdp-cyber", "test"),
        ("cais/mmlu", "all", "test"),
        ("Salesforce/wikitext", "wikitext-2-raw-v1", "test"),
    }
    assert len(asked) == 5  # each once
    assert texts(data, "forget") == [text(i) for i in range(3)]
    assert WMDPDataModule(tokenizer).splits == ["wmdp_bio", "mmlu"]
    wiki = WMDPDataModule(tokenizer, retain=HubDataset("Salesforce/wikitext"), streams=["retain"]).load_streams()
    assert isinstance(wiki["retain"], Documents)


def test_the_gated_corpus_must_be_given(tokenizer, tmp_path):
    with pytest.raises(ValueError, match=r"'forget': There is no bio-forget-corpus on the hub.*Give a file or"):
        WMDPDataModule(tokenizer, splits=[]).setup("fit")
    with pytest.raises(ValueError, match=r"no file bio-forget-corpus or bio_remove_dataset,.*another file.* forget="):
        WMDPDataModule(tokenizer, path=str(tmp_path), splits=[]).setup("fit")
    with pytest.raises(ValueError, match=r"'retain': There is no chem-retain-corpus on the hub"):
        WMDPDataModule(tokenizer, "chem", splits=[], streams=["retain"]).setup("fit")


def test_an_evaluation_needs_no_corpus(tokenizer, tmp_path):
    write(tmp_path / "wmdp-bio_test.jsonl", choices(3, "bio"), lines=True)
    module = PretrainedModule(kit.tiny_llama(len(tokenizer), hidden_size=16, num_layers=1, num_heads=2))
    data = WMDPDataModule(tokenizer, path=str(tmp_path))

    kit.trainer(limit_val_batches=1.0).validate(module, data, verbose=False)
    kit.trainer().test(module, data, verbose=False)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "Is it?", "choices": ["a", "b", "c", "d"], "answer": 4}, "line 2 of .*answer=4 with 4 choices"),
        ({"question": "Is it?", "options": ["a", "b"], "answer": 1}, "line 2 of .*columns question, choices .* not"),
        ({"question": "Is it?", "choices": ["a", "b"], "answer": "E"}, "line 2 of .*answer='E' names none of"),
        ({"question": "Is it?", "choices": ["a", "b"]}, "line 2 of .*answer=None names none of the 2 choices"),
        ({"prompt": "Is it?", "choices": ["a", "b"], "answer": 0}, "line 2 of .*no column 'question'"),
    ],
)
def test_broken_questions_are_refused(tokenizer, tmp_path, row, message):
    write(tmp_path / "wmdp-bio_test.jsonl", [*choices(1, "bio"), row], lines=True)

    with pytest.raises(ValueError, match=message):
        WMDPDataModule(tokenizer, path=str(tmp_path)).setup("validate")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"domain": "nuclear"}, "domain='nuclear' is unknown; accepted are bio, chem, cyber"),
        ({"chunk_length": 1}, "chunk_length=1 must be at least 2"),
        ({"max_chunks": 0}, "max_chunks=0"),
    ],
)
def test_unknown_arguments_are_refused(tokenizer, arguments, message):
    with pytest.raises(ValueError, match=message):
        WMDPDataModule(tokenizer, **arguments)


def test_a_file_without_articles_is_refused(tokenizer, folder):
    data = WMDPDataModule(tokenizer, path=str(folder), wikitext=str(folder / "mmlu.jsonl"), splits=["wikitext"])

    with pytest.raises(ValueError, match=r"mmlu\.jsonl: the column 'text' has None"):
        data.setup("validate")
    (folder / "none.txt").write_text("= = Rye = =\n")
    data = WMDPDataModule(tokenizer, path=str(folder), wikitext=str(folder / "none.txt"), splits=["wikitext"])
    with pytest.raises(ValueError, match="no article of WikiText"):
        data.setup("validate")


@pytest.mark.parametrize("method", [MOLLM, NPO])
def test_methods_train_on_it(tokenizer, folder, method):
    data = WMDPDataModule(tokenizer, "cyber", path=str(folder), batch_size=4, micro_batch_size=2, chunk_length=48)
    module = method(kit.tiny_llama(len(tokenizer), hidden_size=16, num_layers=1, num_heads=2))
    kit.trainer(max_steps=2, limit_val_batches=1).fit(module, data)

    assert module.windows_closed == 2


@needs_data
def test_the_three_layouts_of_the_stand_in(tokenizer):
    def documents(domain: str, stream: str, **options) -> list[str]:
        data = WMDPDataModule(tokenizer, domain, path=str(REAL), **options)
        return list(data.load_streams()[stream].texts())

    corpora = {d: documents(d, "forget") for d in ("bio", "chem", "cyber")}
    assert {domain: len(found) for domain, found in corpora.items()} == dict.fromkeys(corpora, 120)
    assert all(len(documents(domain, "retain")) == 120 for domain in corpora)
    # JSON Lines with one column, with other columns, and one document a line hold the same.
    assert documents("bio", "forget", forget=str(REAL / "bio_remove_dataset.jsonl")) == corpora["bio"]
    assert documents("cyber", "forget", forget=str(REAL / "cyber-forget-corpus.lines.txt")) == corpora["cyber"]
    with open(REAL / "bio-forget-corpus.jsonl", encoding="utf-8") as file:
        assert [json.loads(line)["text"] for line in file] == corpora["bio"]


@needs_data
def test_counts_of_the_questions_and_of_wikitext(tokenizer):
    files = {f"retain_{domain}": str(REAL / f"retain-{domain}_test.jsonl") for domain in ("bio", "chem", "cyber")}
    mmlu, wikitext = DATA / "mmlu" / "test_subset.jsonl", DATA / "wikitext2" / "test.txt.gz"
    options = {"mmlu": str(mmlu), "wikitext": str(wikitext), "questions": files}
    splits = {name: load() for name, load in WMDPDataModule(tokenizer, path=str(REAL), **options).load_splits().items()}

    counts = {name: len(rows) for name, rows in splits.items()}
    assert counts == {
        "wmdp_bio": 160,
        "wmdp_chem": 160,
        "wmdp_cyber": 165,
        **dict.fromkeys(files, 160),
        "mmlu": 742,
        "wikitext": 60,
    }
    assert len({row.subject for row in splits["mmlu"]}) == 6
    valid = WMDPDataModule(tokenizer, path=str(REAL), wikitext=str(wikitext.with_name("valid.txt.gz"))).load_splits()
    assert len(valid["wikitext"]()) == 60


@needs_data
def test_long_questions_are_refused_or_cut(tokenizer):
    whole = WMDPDataModule(tokenizer, "cyber", path=str(REAL), splits=["wmdp_cyber"])
    longest = max(map(len, whole._candidates["wmdp_cyber"]))
    options = {"path": str(REAL), "splits": ["wmdp_cyber"], "max_length": longest - 1}

    with pytest.raises(ValueError, match=r"split 'wmdp_cyber' has \d+ tokens, more than max_length"):
        WMDPDataModule(tokenizer, "cyber", **options).setup("validate")
    cut = WMDPDataModule(tokenizer, "cyber", truncate=True, **options)
    cut.setup("validate")
    assert len(cut._candidates["wmdp_cyber"]) == 4 * 165
    assert max(map(len, cut._candidates["wmdp_cyber"])) == longest - 1
