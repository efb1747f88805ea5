"""Selected streams of data modules: what is measured, kept and cached, and what raises."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests import kit
from unlearn_pl.combiners import Scalarization
from unlearn_pl.commands.trainer import trainer_parser
from unlearn_pl.data import (
    ClassScores,
    Documents,
    Embedder,
    FeatureMapping,
    GradientNorm,
    HiddenStates,
    Joined,
    LabelMapping,
    MinKLoss,
    Moderate,
    NearestRows,
    QuestionAnswers,
    Random,
    SelectedSource,
    SentenceEncoder,
    SequentialRequests,
    StreamDataModule,
    TextDataModule,
)
from unlearn_pl.data.selection import selections
from unlearn_pl.data.streams.exclusion import PickedDataset
from unlearn_pl.models import save_pretrained
from unlearn_pl.modules import MOLLM, GradDiff, IdkDPO, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, UnlearningCrossEntropyLoss
from unlearn_pl.recording import record

OPTIONS = {"batch_size": 4, "micro_batch_size": 4, "splits": []}


class Topics(Embedder):
    """One number per row, its position in the alphabet of texts; counts how often it is asked."""

    uses_model = False
    calls = 0

    def embed(self, examples):
        type(self).calls += 1
        return torch.tensor([[float(sum(map(ord, text)) % 97)] for text in examples.texts()])


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARN_PL_CACHE", str(tmp_path / "cache"))
    Topics.calls = 0


def questions(selected, **options):
    return kit.Questions(selected=selected, **{**OPTIONS, **options})


def fitted(selected, module=None, **options):
    data = questions(selected, **options)
    kit.trainer(max_steps=1).fit(module or GradDiff(kit.model()), data)
    return data


def answers(data, stream):
    """The rows of a stream as texts."""
    dataset = data._training[stream]
    return [kit.tokenizer().decode(dataset[i].input_ids) for i in range(len(dataset))]


# ---- what is kept


def test_a_stream_keeps_the_rows_that_a_selector_names():
    data = fitted({"retain": SelectedSource(MinKLoss(0.25))})
    model, whole = kit.model().eval(), questions(None)
    whole.setup("fit")
    losses = []
    for index in range(24):
        batch = whole.collate([whole._training["retain"][index]])
        logps = GradDiff(model).spec.forward(model, batch, frozenset()).logps[0]
        scored = logps[logps < 0].sort().values
        losses.append(-scored[: max(1, int(0.2 * len(scored)))].mean().item())
    best = sorted(np.argsort(losses)[-6:])
    assert answers(data, "retain") == [answers(whole, "retain")[i] for i in best]
    assert data.steps_per_epoch == 4  # the forget stream is whole
    assert data.selection_report("retain")["kept"] == 6


def test_embeddings_are_the_mean_hidden_states_of_the_text_alone():
    data, model = questions({"retain": SelectedSource(NearestRows(0.5))}, eval_batch_size=5), kit.model(dropout=0.5)
    seen = {}

    embed = HiddenStates.embed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HiddenStates, "embed", lambda self, of: seen.setdefault(of.name, embed(self, of)))
        kit.trainer(max_steps=1).fit(GradDiff(model), data)
    fresh = kit.model().eval()
    dataset = questions(None)._whole("forget", "forget")
    for index, vector in enumerate(seen["forget"]):  # padded to their batch there, alone here
        ids = torch.tensor([dataset[index].input_ids])
        states = fresh(input_ids=ids, output_hidden_states=True).hidden_states[-1][0, :-1]
        torch.testing.assert_close(vector, states.mean(dim=0), rtol=1e-4, atol=1e-5)
    assert model.training


def test_one_more_stream_is_one_more_objective():
    objectives = {
        "forget": UnlearningCrossEntropyLoss(),
        "retain": CausalLMLoss(),
        "neighbor": CausalLMLoss(stream="retain.neighbor"),
    }
    module = UnlearningModule(kit.model(), objectives, Scalarization())
    data = fitted({"retain.neighbor": SelectedSource(NearestRows(0.25))}, module)
    assert {name: len(rows) for name, rows in data._training.items()} == {
        "forget": 16,
        "retain": 24,
        "retain.neighbor": 6,
    }
    assert set(answers(data, "retain.neighbor")) < set(answers(data, "retain"))
    assert module.descent.windows_closed == 1


def test_the_forget_set_and_its_companions_keep_the_same_rows():
    data = TextDataModule(
        kit.tokenizer(),
        forget=QuestionAnswers(kit.rows("Oda", 12)),
        retain=QuestionAnswers(kit.rows("Ivo", 8)),
        selected={"forget": SelectedSource(GradientNorm(0.5), source="forget")},
        warn_of_duplicates=False,
        **OPTIONS,
    )
    kit.trainer(max_steps=1).fit(IdkDPO(kit.model()), data)
    assert len(data._training["forget"]) == len(data._training["forget.alternate"]) == 6
    for index in range(6):
        asked = [data._training[name][index] for name in ("forget", "forget.alternate")]
        first, second = (example.input_ids[: example.prompt_length] for example in asked)
        assert first == second
    assert len(data._load({"train": None})["train"]) == 20  # the target model is trained on everything


def test_rows_of_their_own_and_a_column_of_a_file():
    rows = [{**row, "author": "ab"[i % 2]} for i, row in enumerate(kit.rows("Una", 10))]
    data = questions(
        {
            "retain.more": SelectedSource(FeatureMapping(0.5, label="author"), QuestionAnswers(rows), Topics()),
            "retain": SelectedSource(LabelMapping(0.5, label="author"), QuestionAnswers(rows), Topics()),
        },
        streams=["forget", "retain", "retain.more"],
    )
    data.setup("fit")
    assert len(data._training["retain.more"]) == 5
    kept = {rows[int(i)]["author"] for i in data._selections._outcomes["retain.more"].rows}
    assert len(kept) == 1


def test_requests_select_among_the_rows_that_remain():
    data = TextDataModule(
        kit.tokenizer(),
        forget=QuestionAnswers(kit.rows("Oda", 8)),
        retain=QuestionAnswers([*kit.rows("Oda", 4), *kit.rows("Ivo", 8)]),
        selected={
            "retain.neighbor": SelectedSource(NearestRows(0.5), embed=Topics()),
            "forget": SelectedSource(Random(0.5), source="forget"),
        },
        warn_of_duplicates=False,
        streams=["forget", "retain", "retain.neighbor"],
        **OPTIONS,
    )
    requests = SequentialRequests(data, [{"id": "one", "rows": (0, 4)}])
    requests.setup("fit")
    assert {name: len(rows) for name, rows in requests._training.items()} == {
        "forget": 2,
        "retain": 8,
        "retain.neighbor": 4,
    }
    assert not any("Oda" in text for text in answers(requests, "retain.neighbor"))


@pytest.mark.parametrize("packed", [False, True])
def test_picked_chunks_know_their_documents(packed):
    texts = [f"{name} was here, and wrote it down. " * count for name, count in (("Una", 3), ("Ivo", 1), ("Oda", 4))]
    rows = QuestionAnswers(kit.rows("Ada", 3))
    encoder = kit.Questions()._encoder
    whole = Joined([Documents(texts, chunk_length=12, packed=packed), rows]).dataset("retain", encoder)
    picked = PickedDataset(whole, np.array([0, 2, len(whole) - 2]))
    hashes = whole.hashes()
    for index in range(len(whole.hashes().exact)):  # a document is here if one of its chunks is
        mark = np.arange(len(hashes.exact)) == index
        here = whole.examples_of(mark)[[0, 2, len(whole) - 2]]
        assert (hashes.exact[index] in picked.hashes().exact) == here.any()
        if here.any():
            mine = picked.hashes().exact == hashes.exact[index]
            assert np.array_equal(picked.examples_of(mine), here)
    again = PickedDataset(picked, np.array([1, 2]))
    assert [e.input_ids for e in again.shown()] == [whole[2].input_ids, whole[len(whole) - 2].input_ids]
    assert [e.index for e in again.shown()] == [0, 1] == [again[i].index for i in range(2)]
    assert len(again.hashes().exact) == again.rows_of(np.array([True, True])).sum()
    assert again.fingerprint() != picked.fingerprint()


class Numbers(StreamDataModule):
    """Examples without a text."""

    def load_streams(self):
        return {name: [{"x": torch.tensor([float(i)])} for i in range(n)] for name, n in (("forget", 3), ("retain", 8))}


def test_other_kinds_of_examples():
    data = Numbers(selected={"retain": SelectedSource(Random(0.5))}, batch_size=2, micro_batch_size=2)
    data.setup("fit")
    kept = [float(data._training["retain"][i]["x"]) for i in range(4)]
    assert kept == sorted(kept)
    assert kept == data._selections._outcomes["retain"].rows.tolist()
    by_author = SelectedSource(FeatureMapping(0.5, label="author"), embed=Topics())
    with pytest.raises(ValueError, match="no texts"):
        Numbers(selected={"retain": SelectedSource(NearestRows(0.5), embed=Topics())}, batch_size=4).setup("fit")
    with pytest.raises(ValueError, match="no column 'author'"):
        Numbers(selected={"retain": by_author}, batch_size=4).setup("fit")


# ---- computed once


def test_a_second_run_does_not_embed():
    def run(seed=0):
        data = questions({"retain": SelectedSource(FeatureMapping(0.5, seed=seed), embed=Topics(), mix=0.5)})
        data.setup("fit")
        return answers(data, "retain"), data.selection_report("retain")

    first = run()
    assert Topics.calls == 2  # rows and anchors
    assert run() == first
    assert Topics.calls == 2
    run(seed=1)
    assert Topics.calls == 4


def test_a_changed_row_leads_to_a_new_selection():
    rows = kit.rows("Ivo", 12)

    def run(rows, anchors=8):
        data = TextDataModule(
            kit.tokenizer(),
            forget=QuestionAnswers(kit.rows("Oda", anchors)),
            retain=QuestionAnswers(rows),
            selected={"retain": SelectedSource(NearestRows(0.5), embed=Topics())},
            warn_of_duplicates=False,
            **OPTIONS,
        )
        data.setup("fit")
        return Topics.calls

    assert [run(rows), run(rows)] == [2, 2]
    assert run([*rows[:5], {**rows[5], "answer": "Another."}, *rows[6:]]) == 4
    assert run(rows, anchors=9) == 6


def test_other_weights_lead_to_a_new_selection(monkeypatch):
    chosen = []
    monkeypatch.setattr(selections, "choose", lambda *args: chosen.append(1) or real(*args))
    for seed in (0, 0, 1):
        fitted({"retain": SelectedSource(Moderate(0.5))}, GradDiff(kit.model(seed=seed)))
    assert len(chosen) == 2


real = selections.choose


def test_a_changed_file_of_the_cache_raises(tmp_path):
    def run():
        questions({"retain": SelectedSource(Random(0.5))}).setup("fit")

    run()
    (file,) = Path(tmp_path, "cache").glob("selection-*.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match="was changed after it was written"):
        run()


def test_a_checkpoint_notices_another_selection():
    first, same, other = (questions({"retain": SelectedSource(Random(0.5, seed))}) for seed in (0, 0, 1))
    for data in (first, same, other):
        data.setup("fit")
    assert first.order == same.order != other.order
    assert "selected" not in questions(None).order


# ---- sentence encoders


def test_a_sentence_encoder_from_a_folder(tmp_path):
    folder = tmp_path / "encoder"
    save_pretrained(kit.model(seed=3), str(folder), kit.tokenizer())
    data = questions({"retain": SelectedSource(NearestRows(0.25), embed=SentenceEncoder(str(folder), batch_size=3))})
    examples = data._examples_of("retain", "retain", None)
    vectors = data.selected["retain"].embed.embed(examples)
    model = kit.model(seed=3).eval()
    for text, vector in zip(examples.texts(), vectors, strict=True):
        ids = torch.tensor([kit.tokenizer()(text)["input_ids"]])
        mean = model.model(ids).last_hidden_state[0].mean(dim=0)
        torch.testing.assert_close(vector, mean / mean.norm(), rtol=1e-4, atol=1e-5)
    data.setup("fit")
    assert len(data._training["retain"]) == 6
    identity = data.selected["retain"].embed.identity()
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    assert data.selected["retain"].embed.identity() != identity


# ---- what raises, before training


@pytest.mark.parametrize(
    ("selected", "message"),
    [
        ({"retain": SelectedSource(NearestRows(0.5))}, "used without one.*SentenceEncoder"),
        ({"retain": SelectedSource(GradientNorm(0.5))}, "used without one.*Random"),
        ({"retain": SelectedSource(Random(0.01))}, "keeps no row of 24"),
        ({"retain": SelectedSource(Random(0.5), source="books")}, "reads the stream 'books'.*'forget', 'retain'"),
        ({"retain": SelectedSource(NearestRows(0.5), anchor="books")}, "reads the stream 'books'"),
        ({"forget": SelectedSource(NearestRows(0.5), source="forget")}, "anchor='retain'"),
        ({"retain": Random(0.5)}, "is a Random; accepted is a SelectedSource"),
        ({"retain": SelectedSource(FeatureMapping(0.5, label="author"), embed=Topics())}, "no column 'author'"),
        ({"retain": SelectedSource(FeatureMapping(0.5, clusters=100), embed=Topics())}, "clusters=100 is more than"),
    ],
)
def test_what_raises_from_setup(selected, message):
    with pytest.raises(ValueError, match=message):
        questions(selected).setup("fit")


def test_an_error_does_not_stay():
    data = questions({"retain": SelectedSource(NearestRows(0.5))})
    with pytest.raises(ValueError, match="used without one"):
        data.setup("fit")
    kit.trainer(max_steps=1).fit(GradDiff(kit.model()), data)
    assert len(data._training["retain"]) == 12


def test_a_source_without_columns():
    one = SelectedSource(FeatureMapping(0.5, label="author"), Documents(["A text of some words."] * 3), Topics())
    with pytest.raises(ValueError, match=r"holds Documents of .*, which has no columns"):
        questions({"retain": one}).setup("fit")


@pytest.mark.parametrize(
    ("selected", "message"),
    [
        (SelectedSource(Random(0.01)), "keeps no row of 24"),
        (SelectedSource(LabelMapping(0.5)), "texts without a class"),
        (SelectedSource(NearestRows(0.5), embed=HiddenStates(layer=7)), "no hidden states of that layer"),
        (SelectedSource(NearestRows(0.5), embed=ClassScores()), "accepted is a classifier"),
    ],
)
def test_what_raises_before_the_first_step(selected, message):
    module = GradDiff(kit.model())
    with pytest.raises(ValueError, match=message):
        kit.trainer(max_steps=1).fit(module, questions({"retain": selected}))
    assert module.descent.windows_closed == 0


def test_no_folder_of_an_encoder():
    with pytest.raises(ValueError, match="is no folder"):
        SentenceEncoder("nowhere")


def test_reports_of_what_was_not_selected():
    with pytest.raises(ValueError, match=r"No selection 'retain' was made; made are \[\]"):
        questions(None).selection_report("retain")


# ---- YAML and checkpoints


@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")
def test_one_line_of_yaml(tmp_path):
    text = """
model: {class_path: MOLLM, init_args: {model: none}}
data:
  class_path: SyntheticAuthorsDataModule
  init_args:
    selected:
      retain: {class_path: SelectedSource, init_args: {selector: {class_path: FeatureMapping, init_args: {keep: 0.5}}}}
"""
    (tmp_path / "run.yaml").write_text(text)
    made = trainer_parser().instantiate_classes(trainer_parser().parse_args(["fit", "-c", str(tmp_path / "run.yaml")]))
    source = made["fit"].data.selected["retain"]
    assert isinstance(made["fit"].model, MOLLM)
    assert isinstance(source.selector, FeatureMapping)
    assert (source.selector.keep, source.source, type(source.embed)) == (0.5, "retain", HiddenStates)


def test_a_checkpoint_rebuilds_the_selection(tmp_path):
    data = TextDataModule(
        "tokenizer", forget="a.csv", retain="b.csv", selected={"retain": SelectedSource(Random(0.5, seed=3), mix=0.25)}
    )
    torch.save(
        {"datamodule_hyper_parameters": dict(data.hparams), "pytorch-lightning_version": "2.6.6"}, tmp_path / "c"
    )
    again = TextDataModule.load_from_checkpoint(tmp_path / "c")
    assert record(again.selected["retain"]) == record(data.selected["retain"])
