import pytest

from experiments.studies.markov_chains import MarkovChainsDataModule
from experiments.studies.markov_chains.data_module import state_tokenizer
from experiments.studies.markov_chains.sequences import SequenceDataset, Sequences

SMALL = {"retain_sequences": 30, "forget_sequences": 20, "forget2_length": 5, "batch_size": 4, "micro_batch_size": 2}


def streams(**options) -> dict[str, list[tuple[int, ...]]]:
    data = MarkovChainsDataModule(**SMALL | options)
    return {name: [tuple(sequence) for sequence in source.sequences] for name, source in data.load_streams().items()}


def test_streams_hold_four_fifths_and_splits_the_rest():
    data, given = MarkovChainsDataModule(**SMALL), streams()
    assert {name: len(sequences) for name, sequences in given.items()} == {
        "retain": 24, "forget1": 16, "forget2": 16, "forget": 32, "train": 56,
    }  # fmt: skip
    splits = {name: [row.tokens for row in rows] for name, rows in data.load_splits().items()}
    assert {name: len(rows) for name, rows in splits.items()} == {"retain": 6, "forget1": 4, "forget2": 4}
    for name, rows in splits.items():
        assert not set(rows) & set(given[name])
        assert {len(row) for row in rows} == {len(row) for row in given[name]} == {5 if name == "forget2" else 20}


def test_forget_is_both_chains_and_train_what_was_asked_for():
    given = streams(train_chains=["retain", "forget1"])
    assert given["forget"] == given["forget1"] + given["forget2"]
    assert given["train"] == given["retain"] + given["forget1"]


def test_the_retain_chain_is_the_same_in_both_experiments_of_a_seed():
    assert streams()["retain"] == streams(forget2_length=20)["retain"]
    assert streams()["retain"] != streams(chains_seed=1)["retain"]


def test_batches_score_every_state_but_the_first():
    data = MarkovChainsDataModule(**SMALL, streams=["forget", "retain"])
    data.setup("fit")
    assert data.micro_batches_per_step == 2
    widths = set()
    for forget in (part for window, _, _ in data.train_dataloader() for part in window["forget"]):
        widths |= set(forget["attention_mask"].sum(dim=1).tolist())
        scored = forget["labels"] != -100
        assert not scored[:, 0].any()
        assert (scored[:, 1:] == forget["attention_mask"][:, 1:].bool()).all()
        assert (forget["labels"][scored] == forget["input_ids"][scored]).all()
    assert widths == {5, 20}


def test_an_epoch_shows_every_sequence_of_the_anchor_once():
    data = MarkovChainsDataModule(**SMALL, streams=["forget", "retain"])
    data.setup("fit")
    windows = [window["forget"] for window, _, _ in data.train_dataloader()]
    shown = [index for parts in windows for part in parts for index in part["index"].tolist()]
    assert sorted(shown) == list(range(32))


def test_states_are_words():
    tokenizer = state_tokenizer()
    assert tokenizer("3 4 9 0")["input_ids"] == [3, 4, 9, 0]
    assert tokenizer.decode([3, 4, 9, 0]) == "3 4 9 0"


def test_fingerprints_tell_streams_apart():
    first, same, other = (SequenceDataset(s) for s in ([[1, 2], [3, 4, 5]], [[1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5]]))
    assert first.fingerprint() == same.fingerprint() != other.fingerprint()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_chains": ["retain", "forget3"]}, r"forget3'\]; accepted are one or more of \['retain', 'forget1'"),
        ({"train_chains": []}, r"train_chains=\[\]; accepted"),
        ({"forget2_length": 1}, "forget2_length=1 must be at least 2"),
        ({"forget_sequences": 4}, "at least 5"),
        ({"streams": ["forgotten"]}, "Unknown streams"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MarkovChainsDataModule(**SMALL | options).setup("fit")


def test_a_stream_without_a_scored_token_is_refused():
    with pytest.raises(ValueError, match="at least one, of two tokens"):
        Sequences([[1, 2], [3]])
