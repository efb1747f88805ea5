import json
from collections import Counter

import pytest

from tests import kit
from tests.data.benchmarks.benchmark_folders import muse, text
from unlearn_pl.data import (
    Documents,
    MUSEDataModule,
    PreferenceDataModule,
    QuestionAnswers,
    Request,
    SequentialRequests,
    SyntheticAuthorsDataModule,
    TextDataModule,
)
from unlearn_pl.data.io import recorded_rows
from unlearn_pl.models import train_tokenizer

ODA, IVO, UNA = kit.rows("Oda", 6), kit.rows("Ivo", 9), kit.rows("Una", 4)
AUTHORS = [Request(id=f"author-{i}", rows=(10 * i, 10 * i + 10)) for i in range(3)]


def authors(**options) -> SyntheticAuthorsDataModule:
    sizes = {"forget_authors": 3, "retain_authors": 2, "holdout_authors": 1, "general_facts": 2, "vocab_size": 300}
    return SyntheticAuthorsDataModule(**sizes, **options)


def own(forget, retain, **options) -> TextDataModule:
    defaults = {"batch_size": 4, "micro_batch_size": 2}
    return TextDataModule(
        kit.tokenizer(), forget=QuestionAnswers(forget), retain=QuestionAnswers(retain), **defaults | options
    )


def asked(rows) -> Counter:
    return Counter(f"Question: {row['question']}\nAnswer: {row['answer']}<|eos|>" for row in rows)


def texts(data: SequentialRequests, stream: str) -> Counter:
    """The examples of a stream."""
    return Counter(data.tokenizer.decode(example.input_ids) for example in data._training[stream].shown())


# Rows of a forget set ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_request_has_its_rows_and_the_base_everything_else(number):
    data = SequentialRequests(
        authors(streams=["forget", "forget.alternate", "retain", "train"]), AUTHORS, f"author-{number}"
    )
    data.setup()

    facts = data.data.facts
    mine = facts.forget[10 * number : 10 * number + 10]
    assert texts(data, "forget") == asked(mine)
    assert texts(data, "retain") == asked(facts.retain)
    everything = [*facts.retain, *facts.forget, *facts.real_authors, *facts.world_facts]
    assert texts(data, "train") == asked(everything)
    alternates = data._training["forget.alternate"]
    assert [alternates._questions[i] for i in range(10)] == [row["question"] for row in mine]
    assert {len(data._training[name]) for name in ("forget", "forget.alternate")} == {10}
    assert data.steps_per_epoch == 1
    assert data.tokenizer is data.data.tokenizer


def test_evaluation_splits_are_those_of_the_data_and_every_request_so_far():
    data = SequentialRequests(authors(), AUTHORS, "author-1")
    loaders = data.test_dataloader()

    scored = ["forget", "retain", "real_authors", "world_facts", "request.author-0", "request.author-1"]
    assert list(loaders) == [
        *scored,
        "forget.generate",
        "retain.generate",
        "real_authors.generate",
        "world_facts.generate",
    ]
    rows = data.data.facts.forget
    for name, expected in (("forget", rows[10:20]), ("request.author-0", rows[:10]), ("request.author-1", rows[10:20])):
        found = [row.content() for row in data._evaluation[name]]
        assert found == [f"{row['question']}\n{row['answer']}" for row in expected]
    # Every candidate, the paraphrase and the wrong answers too.
    assert len(loaders["request.author-0"].dataset) == 10 * 7
    alone = SequentialRequests(authors(), AUTHORS, "author-1", evaluate_earlier=False)
    assert [name for name in alone.val_dataloader() if name.startswith("request")] == ["request.author-1"]


def test_sizes_seed_and_limits_are_those_of_the_data():
    base = authors(batch_size=6, micro_batch_size=3, eval_batch_size=5, max_eval_examples=4, seed=7, splits=["retain"])
    data = SequentialRequests(base, AUTHORS, "author-0")

    assert (data.batch_size, data.micro_batches_per_step, data.eval_batch_size, data.seed) == (6, 2, 5, 7)
    assert {name: len(rows) for name, rows in data._evaluation.items()} == {"retain": 4, "request.author-0": 4}


def test_the_last_request_is_the_current_one_unless_another_is_named():
    data = SequentialRequests(authors(), AUTHORS)
    assert data.request == "author-2"
    assert data.earlier == ["author-0", "author-1"]
    assert data.at("author-0").earlier == []
    assert data.at("author-0").current == AUTHORS[0]


def test_the_hash_of_the_rows_depends_on_them_and_not_on_their_order():
    rows = kit.rows("Oda", 6)
    turned = own(rows[::-1], IVO)
    hashes = [
        SequentialRequests(data, [Request(id="a", rows=(start, stop))]).requested_rows()
        for data, start, stop in ((own(rows, IVO), 0, 6), (turned, 0, 6), (own(rows, IVO), 0, 5), (turned, 0, 5))
    ]
    assert [count for count, _ in hashes] == [6, 6, 5, 5]
    assert hashes[0] == hashes[1]
    assert len({hash for _, hash in hashes}) == 3


# Retaining nothing that was asked to be forgotten --------------------------------------------------------------------


@pytest.mark.parametrize("current", [0, 1, 2])
def test_rows_of_this_and_earlier_requests_are_not_retained(current):
    everything = [*ODA, *IVO, *UNA]
    shouted = [{key: value.upper() for key, value in row.items()} for row in ODA[:2]]
    cuts = [(0, 6), (6, 15), (15, 17)]
    requests = [Request(id=str(i), rows=cut) for i, cut in enumerate(cuts)]
    # Own files often hold everything in the retain set, also what is to be forgotten.
    data = SequentialRequests(
        own(everything, [*everything, *shouted], normal=QuestionAnswers(everything)), requests, str(current)
    )
    data._asked_streams = ["forget", "retain", "normal", "train"]
    data.setup("fit")

    start, stop = cuts[current]
    assert texts(data, "forget") == asked(everything[start:stop])
    assert texts(data, "retain") == texts(data, "normal") == asked(everything[stop:])
    assert sum(texts(data, "train").values()) == 2 * len(everything) + 2
    retain = data._training["retain"]
    assert [example.index for example in retain.shown()] == list(range(len(everything) - stop))
    for index in range(len(retain)):
        assert retain[index] == retain.shown()[index]
    assert len(retain.hashes().near) == len(everything) - stop


def test_steps_never_show_a_requested_row_as_retained():
    everything = [*ODA, *IVO, *UNA]
    data = SequentialRequests(own(everything, everything), [Request(id="a", rows=(0, 6)), Request(id="b", rows=(6, 8))])
    data.setup("fit")
    seen = Counter()
    for step in range(0, 12):
        data._steps_done = lambda step=step: step
        for batch, _, _ in data.train_dataloader():
            for part in batch["retain"]:
                for ids, mask in zip(part["input_ids"], part["attention_mask"], strict=True):
                    seen[data.tokenizer.decode(ids[mask == 1])] += 1
    assert set(seen) == set(asked(everything[8:]))


def test_what_is_left_of_documents_are_the_chunks_without_requested_ones(tmp_path):
    long = [text(i) * (i + 1) for i in range(4)]
    tokenizer = train_tokenizer(long, vocab_size=300)

    def remaining(packed: bool, out: list[int]):
        data = TextDataModule(
            tokenizer,
            forget=Documents([long[i] for i in out]),
            retain=Documents(long, chunk_length=24, packed=packed),
        )
        view = SequentialRequests(data, [Request(id="a", forget=Documents([long[i] for i in out]))])
        view.setup("fit")
        return view._training["retain"]

    for out in ([0], [2], [1, 3]):
        kept = [token for i in range(4) if i not in out for token in tokenizer(long[i])["input_ids"][1:]]
        whole = remaining(False, out)
        assert [token for chunk in whole.shown() for token in chunk.input_ids[1:]] == kept
        ids = [tokenizer(document)["input_ids"] for document in long]
        owners = [i for i, document in enumerate(ids) for _ in document]
        joined = [token for document in ids for token in document]
        expected = [
            joined[start : start + 24]
            for start in range(0, len(joined) - 1, 23)
            if not set(owners[start : start + 24]) & set(out)
        ]
        assert [chunk.input_ids for chunk in remaining(True, out).shown()] == expected


def test_fingerprints_tell_what_remains():
    everything = [*ODA, *IVO]
    requests = [Request(id="a", rows=(0, 2)), Request(id="b", rows=(2, 4))]
    prints = set()
    for request in ("a", "b"):
        data = SequentialRequests(own(everything, everything), requests, request)
        data.setup("fit")
        prints |= {data.stream_fingerprint("retain"), data.stream_fingerprint("forget")}
    assert len(prints) == 4


def test_a_request_whose_rows_are_all_that_is_retained_is_refused():
    data = SequentialRequests(own(ODA, ODA), [Request(id="a", rows=(0, 6))])
    with pytest.raises(ValueError, match="Nothing is left of the stream 'retain'"):
        data.setup("fit")


# A file or a text per request ----------------------------------------------------------------------------------------


def test_own_files(tmp_path):
    files = {}
    for name, rows in {"oda": ODA, "ivo": IVO, "all": [*ODA, *IVO, *UNA]}.items():
        files[name] = tmp_path / f"{name}.csv"
        lines = ["question,answer", *(f'"{row["question"]}","{row["answer"]}"' for row in rows)]
        files[name].write_text("\n".join(lines))
    base = TextDataModule(kit.tokenizer(), retain=str(files["all"]))
    requests = [Request(id="oda", forget=str(files["oda"])), Request(id="ivo", forget=str(files["ivo"]))]
    data = SequentialRequests(base, requests)
    data.setup()

    assert texts(data, "forget") == asked(IVO)
    assert texts(data, "retain") == asked(UNA)
    assert {name: len(rows) for name, rows in data._evaluation.items()} == {
        "forget": 9,
        "retain": 19,
        "request.oda": 6,
        "request.ivo": 9,
    }
    assert data.hparams["requests"][0] == {"id": "oda", "forget": str(files["oda"])}


@pytest.mark.filterwarnings("ignore:1 of the 7 rows of retain are also in forget")  # a mill, and a bakery
def test_sustainability_rounds_of_muse(tmp_path):
    tokenizer = train_tokenizer([text(i) for i in range(9)], vocab_size=400)
    base = MUSEDataModule(tokenizer, path=str(muse(tmp_path)), chunk_length=64, splits=["verbmem_forget"])
    requests = [Request(id=f"round-{i}", forget=f"sust/forget_{i}") for i in (1, 2, 3, 4)]

    for i, request in enumerate(requests):
        data = SequentialRequests(base, requests, request["id"])
        data.setup("fit")
        alone = MUSEDataModule(tokenizer, path=base.path, forget=request["forget"], chunk_length=64, splits=[])
        alone.setup("fit")
        assert data.stream_fingerprint("forget") == alone.stream_fingerprint("forget")
        assert list(data._evaluation) == ["verbmem_forget", *(f"request.round-{k + 1}" for k in range(i + 1))]


def test_rows_that_were_asked_for_before_are_counted_and_all_of_them_refused():
    requests = [Request(id="a", forget=QuestionAnswers(ODA[:4])), Request(id="b", forget=QuestionAnswers(ODA[2:]))]
    data = SequentialRequests(own(ODA, IVO), requests)
    with pytest.warns(UserWarning, match="2 of the 4 rows of the request 'b' were requested before, by a"):
        data.setup("fit")

    third = Request(id="c", forget=QuestionAnswers(ODA[2:5]))  # some of it by one, some by the other
    twice = SequentialRequests(own(ODA, IVO), [*requests, third])
    with pytest.raises(
        ValueError, match="3 of the 3 rows of the request 'c' were requested before, by a, b: there is nothing new"
    ):
        twice.setup("fit")


def test_judged_answers_have_no_split_of_the_same_questions(tmp_path):
    columns = ("prompt", "chosen", "rejected")
    for name, count in (("train", 6), ("test", 2)):
        rows = [
            dict(zip(columns, (f"{name} {i}?", f"No {i}.", f"Yes, {i}, gladly."), strict=True)) for i in range(count)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    base = PreferenceDataModule(kit.tokenizer(), path=str(tmp_path))
    data = SequentialRequests(base, [Request(id="a", rows=(1, 3))])
    data.setup("fit")
    assert [row.content() for row in data._evaluation["request.a"]] == [
        "train 1?\nYes, 1, gladly.",
        "train 2?\nYes, 2, gladly.",
    ]


# What goes wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([], r"requests=\[\] leaves nothing"),
        ([{"id": "a/b", "rows": (0, 1)}], "The id 'a/b' of a request is not valid"),
        ([{"id": "a", "rows": (0, 1)}, {"id": "a", "rows": (1, 2)}], "2 requests have the id 'a'"),
        ([{"rows": (0, 1)}], "The id '' of a request is not valid"),
        ([{"id": 1, "rows": (0, 1)}], "The id 1 of a request is not valid"),
        ([{"id": "a", "rows": [3]}], r"rows=\[3\]; accepted is \[first, after last\]"),
        ([{"id": "a"}], r"'a' has the keys \['id'\]; accepted is one of forget and rows"),
        ([{"id": "a", "rows": (0, 1), "forget": "x.csv"}], "accepted is one of forget and rows"),
        ([{"id": "a", "forget": "x.csv"}], "SyntheticAuthorsDataModule has no argument forget"),
    ],
)
def test_construction_refuses(requests, message):
    with pytest.raises(ValueError, match=message):
        SequentialRequests(authors(), requests)


@pytest.mark.parametrize(
    ("rows", "message"),
    [((3, 3), r"rows=\[3, 3\] holds no row"), ((0, 31), r"rows=\[0, 31\]: the stream 'forget' has only 30 rows")],
)
def test_rows_that_are_not_there(rows, message):
    with pytest.raises(ValueError, match=message):
        SequentialRequests(authors(), [Request(id="a", rows=rows)]).setup("fit")


def test_unknown_request():
    with pytest.raises(ValueError, match="request='b' is unknown; accepted are author-0, author-1, author-2"):
        SequentialRequests(authors(), AUTHORS, "b")


def test_rows_of_texts_are_refused():
    data = TextDataModule(kit.tokenizer(), forget=Documents([text(0), text(1)]), retain=Documents([text(2)]))
    with pytest.raises(ValueError, match="which has no rows to select"):
        SequentialRequests(data, [Request(id="a", rows=(0, 1))]).setup("fit")


# Many requests -------------------------------------------------------------------------------------------------------


def test_the_rows_of_the_data_module_are_read_once_for_all_requests(monkeypatch):
    read = Counter()

    class Counted(QuestionAnswers):
        def rows(self):
            read[len(self.path)] += 1
            return super().rows()

    everything = kit.rows("Oda", 24)
    base = TextDataModule(kit.tokenizer(), forget=Counted(everything), retain=QuestionAnswers(IVO))
    hashed = Counter()
    fingerprint = recorded_rows.table_fingerprint
    monkeypatch.setattr(recorded_rows, "table_fingerprint", lambda t: hashed.update([len(t)]) or fingerprint(t))
    data = SequentialRequests(base, [Request(id=f"r{i}", rows=(i * 2, i * 2 + 2)) for i in range(12)])
    data.setup("fit")
    assert read == {24: 2}  # as a stream, and as an evaluation split
    assert hashed[24] <= 2
    assert texts(data, "forget") == asked(everything[22:])
    assert len(data._asked) == 12

    data.tokenizer = train_tokenizer([text(i) for i in range(4)], vocab_size=300)  # may find other rows too long
    for _ in range(2):
        data._asked.clear()
        data._rows_of("r0")
    assert read == {24: 3}
