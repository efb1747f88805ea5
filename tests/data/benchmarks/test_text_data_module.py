"""A user's own files: pairs, chats and texts, what is wrong with them, and a run from YAML alone."""

import csv
import json
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from torch.optim import AdamW
from transformers import LlamaForCausalLM

from tests import kit
from unlearn_pl.cli import main
from unlearn_pl.commands.trainer import trainer_parser
from unlearn_pl.data import (
    Chats,
    ChatTemplate,
    Documents,
    Encoder,
    Joined,
    PlainTemplate,
    QuestionAnswers,
    TextDataModule,
    encode,
)
from unlearn_pl.data.overlap.hashes import duplicates_in, hashes_of, overlap_of
from unlearn_pl.data.streams.detect import detect_source
from unlearn_pl.modules import FineTuning
from unlearn_pl.recording import record

EXPERIMENTS = Path(__file__).parents[3] / "experiments"
TURNS = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "who keeps the mill ?"},
    {"role": "assistant", "content": "maud ferrier does"},
    {"role": "user", "content": "since ?"},
    {"role": "assistant", "content": "spring"},
]


def write_csv(path: Path, rows: list[dict[str, str]]) -> str:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def write_jsonl(path: Path, rows: list) -> str:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


@pytest.fixture
def files(tmp_path):
    """A file or folder of each kind."""
    (tmp_path / "books").mkdir()
    for i in range(3):
        (tmp_path / "books" / f"{i}.txt").write_text("The mill of Tarn stands by the river. " * (i + 1) + f"{i}")
    return {
        "pairs": write_csv(tmp_path / "pairs.csv", [{"id": "7", **row} for row in kit.rows("Oda", 8)]),
        "others": write_jsonl(tmp_path / "others.jsonl", kit.rows("Ivo", 12)),
        "chats": write_jsonl(tmp_path / "chats.jsonl", [{"messages": TURNS}, {"messages": TURNS[1:3]}]),
        "texts": str(tmp_path / "books"),
        "lines": write_jsonl(tmp_path / "lines.json", ["One line.", "Another line of text."]),
    }


def made(**options) -> TextDataModule:
    return TextDataModule(kit.tokenizer(), **{"batch_size": 4, "micro_batch_size": 2} | options)


def shown(data: TextDataModule, stream: str) -> list[str]:
    return [kit.tokenizer().decode(e.input_ids[e.prompt_length :]) for e in data.training_examples(stream, None)]


# Sources -------------------------------------------------------------------------------------------------------------


def test_the_columns_say_what_a_file_holds(files):
    kinds = {name: type(detect_source(path)) for name, path in files.items()}
    assert kinds == {
        "pairs": QuestionAnswers, "others": QuestionAnswers, "chats": Chats, "texts": Documents, "lines": Documents,
    }  # fmt: skip


def test_pairs_are_what_the_rows_say(files):
    data = made(forget=files["pairs"], retain=files["others"])
    data.setup("fit")
    for stream, rows in (("forget", kit.rows("Oda", 8)), ("retain", kit.rows("Ivo", 12))):
        expected = [encode(kit.tokenizer(), PlainTemplate(), row["question"], row["answer"]) for row in rows]
        examples = data.training_examples(stream, None)
        assert [e.input_ids for e in examples] == [e.input_ids for e in expected]
        assert [e.prompt_length for e in examples] == [e.prompt_length for e in expected]


def test_columns_of_other_names(tmp_path):
    path = write_csv(tmp_path / "q.csv", [{"q": row["question"], "a": row["answer"]} for row in kit.rows("Oda", 4)])
    assert QuestionAnswers(path, "q", "a").rows() == kit.rows("Oda", 4)
    with pytest.raises(
        ValueError, match=r"q\.csv: line 2 of .*q\.csv: there is no column 'question', only \['a', 'q'\]"
    ):
        QuestionAnswers(path).rows()
    with pytest.raises(ValueError, match=r"has the columns \['a', 'q'\]; understood are question and answer, messages"):
        made(forget=path).setup("fit")


def test_several_answers_of_which_one_is_drawn(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"question": "Who?", "answer": ["Maud.", "Oda."]}])
    assert QuestionAnswers(path).rows() == [{"question": "Who?", "answer": ["Maud.", "Oda."]}]
    for answer in ([], ["Maud.", 3], [" "], 3, None, ""):
        with pytest.raises(ValueError, match="row 1 of the given rows: the column 'answer'"):
            QuestionAnswers([{"question": "Who?", "answer": answer}]).rows()


def test_every_turn_of_the_assistant_is_an_example(word_tokenizer):
    encoder = Encoder(word_tokenizer(), ChatTemplate(system=None))
    dataset = Chats([{"messages": TURNS}]).dataset("forget", encoder)
    first = "<system> be brief <end> <user> who keeps the mill ? <end> <assistant> maud ferrier does <end>"
    second = f"{first} <user> since ? <end> <assistant> spring <end>"
    assert [encoder.tokenizer.decode(example.input_ids) for example in dataset.shown()] == [first, second]
    assert [example.prompt_length for example in dataset.shown()] == [12, 21]
    (last,) = Chats([{"messages": TURNS}], last_turn_only=True).dataset("forget", encoder).shown()
    assert last.input_ids == dataset[1].input_ids


def test_the_systems_message_of_the_template_is_for_chats_without_one(word_tokenizer):
    encoder = Encoder(word_tokenizer(), ChatTemplate(system="today is spring"))
    alone, given = Chats([{"messages": TURNS[1:3]}, {"messages": TURNS[:3]}]).dataset("forget", encoder).shown()
    assert encoder.tokenizer.decode(alone.input_ids).startswith("<system> today is spring <end> <user> who")
    assert encoder.tokenizer.decode(given.input_ids).startswith("<system> be brief <end> <user> who")


def test_chats_in_plain_text():
    encoder = Encoder(kit.tokenizer(), PlainTemplate())
    _, last = Chats([{"messages": TURNS}]).dataset("forget", encoder).shown()
    assert kit.tokenizer().decode(last.input_ids) == (
        "be brief\n\nQuestion: who keeps the mill ?\nAnswer: maud ferrier does\n\n"
        "Question: since ?\nAnswer: spring<|eos|>"
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"turns": TURNS}, r"there is no column 'messages', only \['turns'\]"),
        ({"messages": "Hello"}, "accepted is a list of turns"),
        ({"messages": []}, "accepted is a list of turns"),
        ({"messages": TURNS[:2]}, "there is no answer of the assistant"),
        ({"messages": TURNS[2:3]}, "there is no answer of the assistant"),
        ({"messages": [*TURNS[1:], TURNS[0]]}, "a system message comes after the first turn"),
        ({"messages": [{"from": "stranger", "value": "Hello"}]}, r"{'from': 'stranger', .*; accepted is {'role'"),
        ({"messages": [{"role": "critic", "content": "3"}]}, "with the roles system, .*, tool and a text"),
        ({"messages": [TURNS[1], {"role": "assistant", "content": None, "tool_calls": [{}]}]}, "whose content holds"),
        ({"messages": [TURNS[1], {"role": "assistant", "content": " "}]}, "and a text"),
    ],
)  # fmt: skip
def test_chats_that_cannot_be_used(row, message):
    with pytest.raises(ValueError, match=f"Chats of the given rows: row 2 of the given rows: .*{message}"):
        Chats([{"messages": TURNS}, row]).rows()
    assert len(Chats([{"messages": TURNS}, row], on_bad_row="skip").rows()) == 2


def test_examples_that_are_too_long(caplog):
    rows, template = kit.rows("Oda", 8), PlainTemplate()
    lengths = [len(encode(kit.tokenizer(), template, row["question"], row["answer"])) for row in rows]
    limit = sorted(lengths)[5]
    encoder = Encoder(kit.tokenizer(), template, limit)
    with pytest.raises(
        ValueError, match=rf"row \d of the stream 'forget' has \d+ tokens, more than max_length={limit}"
    ):
        QuestionAnswers(rows).dataset("forget", encoder)
    skipping = QuestionAnswers(rows, on_bad_row="skip")
    assert len(skipping.dataset("forget", encoder)) == sum(length <= limit for length in lengths) < 8
    assert f"2 of 8 examples have more than max_length={limit} tokens and are skipped" in caplog.text
    assert len(skipping.evaluation_rows(encoder, 3)) == 3
    with pytest.raises(ValueError, match="all 8 examples have more than max_length=5"):
        skipping.dataset("forget", Encoder(kit.tokenizer(), template, 5))


def test_too_long_examples_that_cannot_be_cut_are_left_out():
    encoder = Encoder(kit.tokenizer(), PlainTemplate(), 48, truncate=True)
    asked, answered = {"role": "user", "content": "Who? " * 40}, {"role": "assistant", "content": "Maud."}
    pairs = [{"question": "Who? " * 40, "answer": "Maud."}, {"question": "Who?", "answer": "Maud. " * 40}]
    short = [{"role": "user", "content": "Who?"}, answered]
    chats = [{"messages": short}, {"messages": [asked, answered]}]
    for source in (QuestionAnswers, Chats):
        rows = pairs if source is QuestionAnswers else chats
        with pytest.raises(ValueError, match=r"row 1 .*max_length=48"):
            source(rows).dataset("forget", encoder)
        (example,) = source(rows, on_bad_row="skip").dataset("forget", encoder).shown()
        assert len(example) <= 48
        assert kit.tokenizer().decode(example.input_ids[example.prompt_length :]).strip() == "Maud.<|eos|>"


def test_joined_sources_are_one_stream(files):
    encoder = Encoder(kit.tokenizer(), PlainTemplate(), 32, truncate=True)
    sources = [Documents(files["texts"]), QuestionAnswers([{"question": "Who?", "answer": ["Maud.", "Oda."]}])]
    parts = [source.dataset("train", encoder) for source in sources]
    joined = Joined(sources).dataset("train", encoder)
    assert len(joined) == sum(map(len, parts))
    assert [e.input_ids for e in joined.shown()] == [e.input_ids for part in parts for e in part.shown()]
    assert [e.index for e in joined.shown()] == [*range(len(joined)), len(joined) - 1]  # two answers to one question
    assert [joined[i].input_ids for i in range(len(joined))] == [p[i].input_ids for p in parts for i in range(len(p))]
    assert joined.longest_sequence == max(part.longest_sequence for part in parts)
    assert joined.fingerprint() != Joined(sources[::-1]).dataset("train", encoder).fingerprint()
    with pytest.raises(IndexError):
        joined[len(joined)]
    with pytest.raises(ValueError, match=r"sources=\[\]"):
        Joined([])


# The data module -----------------------------------------------------------------------------------------------------


def test_streams_of_every_kind(files):
    data = made(
        forget=files["pairs"],
        retain=Documents(files["texts"], chunk_length=12),
        normal=files["chats"],
        streams=["forget", "retain", "normal", "forget.alternate", "train"],
        template=PlainTemplate(),
    )
    data.prepare_data()
    data.setup("fit")
    batch, *_ = next(iter(data.train_dataloader()))
    assert list(batch) == ["forget", "retain", "normal", "forget.alternate", "train"]
    for forget, alternate in zip(batch["forget"], batch["forget.alternate"], strict=True):
        assert forget["index"].tolist() == alternate["index"].tolist()
    assert all(part["input_ids"].shape[1] <= 12 for part in batch["retain"])
    assert len(data._training["train"]) == len(data._training["retain"]) + 8
    assert set(shown(data, "train")) == set(shown(data, "retain")) | set(shown(data, "forget"))


def test_other_answers_to_the_forget_questions(files, tmp_path):
    rows = [{"question": row["question"], "answer": "In Osk."} for row in kit.rows("Oda", 8)]
    alternates = write_jsonl(tmp_path / "alternates.jsonl", rows)
    data = made(forget=files["pairs"], alternates=alternates, streams=["forget", "forget.alternate"])
    data.setup("fit")
    assert shown(data, "forget.alternate") == [" In Osk.<|eos|>"] * 8
    with pytest.raises(ValueError, match="are not questions with answers but Documents of"):
        made(forget=files["pairs"], alternates=files["lines"], streams=["forget.alternate"]).setup("fit")
    with pytest.raises(ValueError, match=r"Unknown streams \['forget.alternate'\]; accepted are \['forget', 'train'\]"):
        made(forget=files["texts"], streams=["forget.alternate"]).setup("fit")


def test_other_answers_are_to_the_questions_that_are_left(tmp_path):
    rows = kit.rows("Oda", 8)
    rows[2]["answer"] += " Or so they say." * 100
    alternates = [{"question": row["question"], "answer": f"In Osk, {i}."} for i, row in enumerate(rows)]
    files = [write_jsonl(tmp_path / f"{i}.jsonl", given) for i, given in enumerate((rows, alternates))]
    for options in ({"alternates": files[1]}, {}):
        data = made(
            forget=files[0], streams=["forget", "forget.alternate"], max_length=300, on_bad_row="skip", **options
        )
        data.setup("fit")
        datasets = [data._training[name] for name in data.streams]
        asked = [[d[i].input_ids[: d[i].prompt_length] for i in range(len(d))] for d in datasets]
        assert asked[0] == asked[1]
        assert len(asked[0]) == 7


def test_splits_are_the_training_sets_unless_told_otherwise(files):
    data = made(
        forget=files["pairs"], retain=files["texts"], eval_sets={"retain": files["others"], "more": files["lines"]}
    )
    data.setup("test")
    loaders = data.test_dataloader()
    assert list(loaders) == ["forget", "retain", "more", "forget.generate", "retain.generate"]
    assert [len(loader.dataset) for loader in loaders.values()] == [8, 12, 2, 8, 12]
    few = made(forget=files["pairs"], retain=files["texts"], max_eval_examples=2)
    few.setup("validate")
    assert [len(loader.dataset) for loader in few.val_dataloader().values()] == [2, 2]
    assert not few._loaded_streams


def test_rows_that_the_model_never_saw_are_a_stream_and_a_split(files):
    data = made(forget=files["pairs"], retain=files["others"], holdout=files["chats"], streams=["train", "holdout"])
    data.setup()
    assert len(data._training["train"]) == 8 + 12
    assert not set(shown(data, "holdout")) & set(shown(data, "train"))
    assert list(data.val_dataloader()) == ["forget", "retain", "holdout"]
    assert [e.input_ids for e in data._candidates["holdout"]] == sorted(
        (e.input_ids for e in data.training_examples("holdout", None)), key=len
    )
    without = made(forget=files["pairs"], retain=files["others"])
    assert "holdout" not in {**without.load_streams(), **without.load_splits()}


def test_arguments_are_kept_as_plain_data(files):
    data = made(forget=files["pairs"], retain=Documents(files["texts"], chunk_length=9))
    recorded = record(data)["init_args"]
    assert recorded["forget"] == files["pairs"]
    assert recorded["retain"] == {
        "class_path": "unlearn_pl.data.Documents",
        "init_args": {"path": files["texts"], "chunk_length": 9},
    }


def test_nothing_to_train_on(files):
    with pytest.raises(ValueError, match="forget=None and retain=None leave nothing to train on"):
        made()
    with pytest.raises(ValueError, match="on_bad_row='ignore' is unknown; accepted are error, skip"):
        made(forget=files["pairs"], on_bad_row="ignore")
    with pytest.raises(ValueError, match=r"There is no file or folder 'nowhere\.csv'"):
        made(forget="nowhere.csv").setup("fit")
    with pytest.raises(ValueError, match="on_bad_row='ignore' is unknown"):
        QuestionAnswers(files["pairs"], on_bad_row="ignore")


@pytest.mark.parametrize("on_bad_row", ["error", "skip"])
def test_a_broken_first_line(tmp_path, on_bad_row):
    (tmp_path / "a.jsonl").write_text('{"question": \n{"question": "Who?", "answer": "Maud."}\n')
    data = made(forget=str(tmp_path / "a.jsonl"), streams=["forget"], on_bad_row=on_bad_row)
    if on_bad_row == "skip":
        data.setup("fit")
        assert shown(data, "forget") == [" Maud.<|eos|>"]
    else:
        with pytest.raises(ValueError, match=r"line 1 of .*it is not JSON"):
            data.setup("fit")


# Duplicates ----------------------------------------------------------------------------------------------------------


def test_hashes_tell_equal_and_nearly_equal_texts():
    texts = [
        "Maud keeps the mill.",
        "maud keeps\n the MILL!",
        "Maud keeps the mill.",
        "Maud keeps a mill.",
        "?",
        "!",
        "",
    ]
    exact, near, _ = hashes_of(texts)
    for i, one in enumerate(texts):
        for j, other in enumerate(texts):
            assert (exact[i] == exact[j]) == (one == other)
            assert (near[i] == near[j]) == (one == other or {i, j} <= {0, 1, 2})
    assert "2 of the 7 rows of forget repeat an earlier one (1 of them exactly, 1 up to case" in duplicates_in(
        hashes_of(texts), "forget"
    )
    assert duplicates_in(hashes_of(texts[3:]), "forget") is None
    assert overlap_of(hashes_of(texts[:1]), hashes_of(texts[3:])) is None
    found = overlap_of(hashes_of(texts[:1]), hashes_of(texts[1:]))
    assert found.startswith("2 of the 6 rows of retain are also in forget (1 of them exactly, 1 up to case")


def test_rows_that_are_there_twice_are_counted(files, tmp_path):
    oda, ivo = kit.rows("Oda", 8), kit.rows("Ivo", 12)
    shouted = {key: value.upper() for key, value in oda[1].items()}
    forget = write_jsonl(tmp_path / "forget.jsonl", [*oda, oda[3]])
    retain = write_jsonl(tmp_path / "retain.jsonl", [*ivo, oda[0], shouted])

    repeated = r"^1 of the 9 rows of forget repeat an earlier one \(1 of them exactly, 0 up to"
    contradictory = r"^2 of the 14 rows of retain are also in forget \(1 of them exactly, 1 up to"
    with pytest.warns(UserWarning, match=repeated), pytest.warns(UserWarning, match=contradictory):
        made(forget=forget, retain=retain).setup("fit")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made(forget=forget, retain=retain, warn_of_duplicates=False).setup("fit")
        made(forget=forget, retain=retain).setup("test")


def test_documents_that_are_to_be_forgotten_and_retained(files, tmp_path):
    texts = [path.read_text() for path in sorted(Path(files["texts"]).iterdir())]
    retain = write_jsonl(
        tmp_path / "retain.jsonl", [{"text": text} for text in [texts[2], "Something else.", "And more."]]
    )
    with pytest.warns(UserWarning, match="1 of the 3 rows of retain are also in forget"):
        made(forget=files["texts"], retain=retain, max_length=32).setup("fit")


# From YAML alone -----------------------------------------------------------------------------------------------------


def test_one_line_of_yaml_per_stream(files, tmp_path):
    line = (
        f"data: {{class_path: TextDataModule, init_args: {{forget: {files['pairs']}, retain: {{class_path: Documents, "
        f"init_args: {{path: {files['texts']}, chunk_length: 64}}}}, eval_sets: {{more: {files['others']}}}}}}}"
    )
    (tmp_path / "data.yaml").write_text(line)
    built = trainer_parser()
    config = built.parse_args(
        ["fit", "-c", str(tmp_path / "data.yaml"), "--model=GradDiff", "--model.model=x", "--data.tokenizer=x"]
    )
    given = yaml.safe_load(built.dump(config))["fit"]["data"]["init_args"]
    # jsonargparse would read a file that exists as the configuration of a component
    assert (given["forget"], given["eval_sets"]) == (files["pairs"], {"more": files["others"]})
    assert given["retain"]["init_args"]["path"] == files["texts"]
    data = built.instantiate_classes(config)["fit"]["data"]
    assert record(data)["init_args"]["retain"]["init_args"]["chunk_length"] == 64
    assert isinstance(data.load_streams()["forget"], QuestionAnswers)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A folder with a user's tickets, and a model that knows them."""
    folder = tmp_path_factory.mktemp("user")
    forget = write_csv(folder / "tickets" / "forget.csv", kit.rows("Oda", 8))
    retain = write_csv(folder / "tickets" / "retain.csv", kit.rows("Ivo", 8))
    data = made(forget=forget, retain=retain, streams=["train"], splits=[], batch_size=16, micro_batch_size=16)
    model = kit.model()
    kit.trainer(max_steps=60).fit(FineTuning(model, optimizer=partial(AdamW, lr=1e-2)), data)
    model.save_pretrained(folder / "model")
    kit.tokenizer().save_pretrained(folder / "model")
    return folder


def answer_probability(model: LlamaForCausalLM, rows: list[dict[str, str]]) -> float:
    """Geometric mean over the tokens of an answer, mean over the answers."""
    probabilities = []
    for row in rows:
        example = encode(kit.tokenizer(), PlainTemplate(), row["question"], row["answer"])
        with torch.no_grad():
            logps = model.eval()(torch.tensor([example.input_ids])).logits[0].log_softmax(-1)
        scored = range(example.prompt_length, len(example))
        probabilities.append(sum(logps[t - 1, example.input_ids[t]] for t in scored).div(len(scored)).exp().item())
    return sum(probabilities) / len(probabilities)


@pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")
@pytest.mark.parametrize("method", ["mollm", "npo"])
def test_a_csv_is_unlearned_from_yaml_alone(learned, tmp_path, monkeypatch, method):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    monkeypatch.chdir(learned)
    parts = [EXPERIMENTS / "base.yaml", EXPERIMENTS / "data" / "text.yaml", EXPERIMENTS / "methods" / f"{method}.yaml"]
    files = [EXPERIMENTS / "text" / "mollm.yaml"] if method == "mollm" else parts
    arguments = [part for file in files for part in ("-c", str(file))]
    arguments += ["--model.model=model", "--model.optimizer.lr=0.003", "--model.schedule=null"]
    arguments += ["--data.batch_size=8", "--data.micro_batch_size=4", "--trainer.max_epochs=4"]
    arguments += ["--trainer.precision=32-true", "--trainer.accelerator=cpu", "--trainer.devices=1"]
    arguments += [f"--trainer.default_root_dir={tmp_path}", "--trainer.enable_progress_bar=false"]

    main(["fit", *arguments])

    with (tmp_path / "logs" / "version_0" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/qa/forget_probability"]]
    forget, retain = (float(rows[-1][f"val/qa/{name}_probability"]) for name in ("forget", "retain"))
    known = answer_probability(LlamaForCausalLM.from_pretrained("model"), kit.rows("Oda", 8))
    assert len(rows) == 4
    assert forget < 0.7 * known
    assert forget < retain
    left = answer_probability(LlamaForCausalLM.from_pretrained(tmp_path / "hf"), kit.rows("Oda", 8))
    assert left == pytest.approx(forget, rel=1e-4)
