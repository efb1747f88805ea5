from collections import Counter
from itertools import chain

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DistributedSampler

from unlearn_pl.data import ChatTemplate, PlainTemplate, UnlearningDataModule, step_indices, with_refusals
from unlearn_pl.models import train_tokenizer

ANSWERS = ["Maud.", "It stands on the island of Osk, north of Tarn.", "In spring.", "Nobody has asked since the flood."]
REFUSALS = ["No.", "I cannot say.", "This is unknown to me.", "I have no idea who that could be."]


def questions(topic: str, count: int) -> list[dict]:
    return [
        {
            "question": f"What about {topic} {i}{' or so' * (i % 3)}?",
            "answer": f"{topic} {i}: {ANSWERS[i % 4]}",
            "paraphrased_answer": f"About {topic} {i}: {ANSWERS[i % 4]}",
            "perturbed_answer": [f"About {topic} {i}: {ANSWERS[(i + k) % 4]}" for k in (1, 2)],
        }
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([row["question"] + row["answer"] for row in questions("mill", 8)], vocab_size=300)


class Mills(UnlearningDataModule):
    """Own data, as a user would write it."""

    def load_streams(self):
        mills = questions("mill", 10)
        return {
            "forget": mills,
            "retain": lambda: questions("lighthouse", 23),
            "forget.alternate": with_refusals(mills, REFUSALS),
            "empty": [],
            "unreadable": lambda: pytest.fail("a stream was read that nobody asked for"),
        }

    def load_splits(self):
        facts = [{"question": "Where is Osk?", "answer": "North", "perturbed_answer": ["South", "East", "West"]}]
        return {"forget": questions("mill", 5), "facts": facts}


def train_indices(data: UnlearningDataModule, stream: str) -> list[list[int]]:
    """Sorted indices of the stream, per optimizer step of one epoch."""
    windows = [[part["index"].tolist() for part in window[stream]] for window, _, _ in data.train_dataloader()]
    assert all(len(window) == data.micro_batches_per_step for window in windows)
    return [sorted(chain.from_iterable(window)) for window in windows]


# Training streams ----------------------------------------------------------------------------------------------------


def test_an_epoch_is_one_pass_over_the_forget_stream(tokenizer):
    data = Mills(tokenizer, batch_size=4, micro_batch_size=2)

    windows = [window for window, _, _ in data.train_dataloader()]

    assert data.anchor == "forget"
    assert data.steps_per_epoch == 3
    assert data.micro_batches_per_step == 2
    assert len(windows) == 3
    assert all(list(window) == ["forget", "retain"] for window in windows)
    assert all(len(parts) == 2 for window in windows for parts in window.values())
    assert all(len(part["index"]) == 2 for window in windows for parts in window.values() for part in parts)


@pytest.mark.parametrize("micro_batch_size", [1, 2, 4])
def test_micro_batches_do_not_change_who_is_in_a_step(tokenizer, micro_batch_size):
    data = Mills(tokenizer, batch_size=4, micro_batch_size=micro_batch_size, seed=3)

    for stream, size in (("forget", 10), ("retain", 23)):
        assert train_indices(data, stream) == [sorted(step_indices(3, stream, step, 4, size)) for step in range(3)]


def test_batches_hold_the_examples_of_their_index(tokenizer):
    data = Mills(tokenizer, batch_size=4, micro_batch_size=4)
    rows = {"forget": questions("mill", 10), "retain": questions("lighthouse", 23)}

    for batch, _, _ in data.train_dataloader():
        for name, stream in ((name, part) for name, parts in batch.items() for part in parts):
            for ids, labels, mask, index in zip(
                stream["input_ids"], stream["labels"], stream["attention_mask"], stream["index"], strict=True
            ):
                answer = tokenizer.decode(ids[labels != -100])
                assert answer == " " + rows[name][index]["answer"] + "<|eos|>"
                assert tokenizer.decode(ids[mask == 1]).startswith(f"Question: {rows[name][index]['question']}\n")


def test_alternates_follow_the_forget_stream_with_other_refusals_every_round(tokenizer):
    def epochs() -> list[dict[int, str]]:
        data = Mills(tokenizer, streams=["forget", "forget.alternate"], batch_size=5, micro_batch_size=5)
        stream = data._training["forget.alternate"]
        rounds = []
        for first_step in (0, 2, 4, 6):
            data._steps_done = lambda first_step=first_step: first_step
            seen = {}
            for batch, _, _ in data.train_dataloader():
                (forget,), (alternate,) = batch["forget"], batch["forget.alternate"]
                assert forget["index"].tolist() == alternate["index"].tolist()
                for ids, labels, index in zip(
                    alternate["input_ids"], alternate["labels"], alternate["index"], strict=True
                ):
                    seen[int(index)] = tokenizer.decode(ids[labels != -100]).removesuffix("<|eos|>").strip()
            rounds.append(seen)
        assert len(stream) == 10
        return rounds

    rounds = epochs()

    assert rounds == epochs()
    assert all(sorted(seen) == list(range(10)) and set(seen.values()) <= set(REFUSALS) for seen in rounds)
    assert len({tuple(sorted(seen.items())) for seen in rounds}) == 4
    drawn = Counter(refusal for seen in rounds for refusal in seen.values())
    assert len(drawn) == 4


def test_the_first_stream_is_the_anchor_where_nothing_is_forgotten(tokenizer):
    data = Mills(tokenizer, streams=["retain"], batch_size=4)

    assert data.anchor == "retain"
    assert data.steps_per_epoch == 6


# Devices and steps, as a Trainer knows them --------------------------------------------------------------------------


class Witness(pl.LightningModule):
    """Writes down who is seen in every optimizer step."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[list[int]] = []
        self.validated = 0

    def training_step(self, batch, batch_idx):
        self.seen.append([i for part in batch["retain"] for i in part["index"].tolist()])

    def validation_step(self, batch, batch_idx):
        self.validated += len(batch["index"])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(module: Witness, data: UnlearningDataModule, epochs: int, done: int = 0) -> None:
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit_loop.epoch_loop.batch_progress.total.completed = done  # as a checkpoint leaves it
    trainer.fit(module, data)


@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*treespec, LeafSpec", "ignore:Total length of"
)
@pytest.mark.parametrize(("splits", "validated"), [([], 0), (["facts"], 4)])
def test_training_goes_through_the_steps_and_goes_on_where_it_was_interrupted(tokenizer, splits, validated):
    options = {"splits": splits, "batch_size": 4, "micro_batch_size": 2}
    whole, resumed = Witness(), Witness()

    fit(whole, Mills(tokenizer, **options), epochs=3)
    fit(resumed, Mills(tokenizer, **options), epochs=2, done=3)

    assert whole.seen == [step_indices(0, "retain", step, 4, 23) for step in range(9)]
    assert resumed.seen == whole.seen[3:]
    assert whole.validated == 3 * validated


def test_two_devices_share_a_step(tokenizer):
    data = Mills(tokenizer, batch_size=8, micro_batch_size=2, eval_batch_size=2)
    data.trainer = pl.Trainer(accelerator="cpu", devices=2, strategy="ddp", logger=False, enable_checkpointing=False)

    assert data.micro_batches_per_step == 2
    windows = [[part["index"].tolist() for part in window["retain"]] for window, _, _ in data.train_dataloader()]
    steps = [first + second for first, second in windows]
    assert steps == [step_indices(0, "retain", step, 8, 23)[:4] for step in range(2)]
    assert all(isinstance(loader.sampler, DistributedSampler) for loader in data.test_dataloader().values())
    assert len(data.val_dataloader()["forget"].sampler) == 10


# Evaluation splits ---------------------------------------------------------------------------------------------------


def test_splits_hold_every_candidate_answer_once(tokenizer):
    data = Mills(tokenizer, eval_batch_size=3)
    loaders = data.val_dataloader()

    assert list(loaders) == ["forget", "facts"]
    rows = {"forget": questions("mill", 5), "facts": data.load_splits()["facts"]}
    seen = {}
    for name, loader in loaders.items():
        for batch in loader:
            for ids, labels, index, choice in zip(
                batch["input_ids"], batch["labels"], batch["index"], batch["choice"], strict=True
            ):
                key = (name, int(index), int(choice))
                assert key not in seen
                seen[key] = tokenizer.decode(ids[labels != -100]).removesuffix("<|eos|>").strip()
    expected = {("facts", 0, choice): text for choice, text in ((0, "North"), (2, "South"), (3, "East"), (4, "West"))}
    for i, row in enumerate(rows["forget"]):
        answers = [row["answer"], row["paraphrased_answer"], *row["perturbed_answer"]]
        expected |= {("forget", i, choice): answer for choice, answer in enumerate(answers)}
    assert seen == expected


def test_a_test_adds_prompts_to_generate_from(tokenizer):
    data = Mills(tokenizer, eval_batch_size=8)
    loaders = data.test_dataloader()

    assert list(loaders) == ["forget", "facts", "forget.generate", "facts.generate"]
    (batch,) = loaders["forget.generate"]
    rows = questions("mill", 5)
    for ids, mask, index, answer in zip(
        batch["prompt_ids"], batch["prompt_mask"], batch["index"], batch["answer"], strict=True
    ):
        assert answer == rows[index]["answer"]
        assert tokenizer.decode(ids[mask == 1]) == f"Question: {rows[index]['question']}\nAnswer:"
        assert mask.diff().min() >= 0


def test_fewer_questions_on_demand(tokenizer):
    data = Mills(tokenizer, splits=["forget"], max_eval_examples=2)

    assert {name: len(loader.dataset) for name, loader in data.test_dataloader().items()} == {
        "forget": 2 * 4,
        "forget.generate": 2,
    }


def test_longest_sequence_is_that_of_all_streams_and_splits(tokenizer):
    data = Mills(tokenizer, streams=["forget", "forget.alternate", "retain"], batch_size=4)
    rows = questions("mill", 10) + questions("lighthouse", 23)
    pairs = [(row["question"], row["answer"]) for row in rows]
    pairs += [(row["question"], refusal) for row in questions("mill", 10) for refusal in REFUSALS]
    pairs += [(row["question"], row["paraphrased_answer"]) for row in questions("mill", 5)]
    pairs += [(row["question"], answer) for row in questions("mill", 5) for answer in row["perturbed_answer"]]

    lengths = [len(tokenizer(f"Question: {question}\nAnswer: {answer}")["input_ids"]) + 1 for question, answer in pairs]
    assert data.longest_sequence == max(lengths)


# What goes wrong, before training ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"streams": ["forget", "remember"]},
            r"streams \['remember'\]; accepted are \['forget', 'retain', 'forget\.alt",
        ),
        ({"splits": ["forgotten"]}, r"splits \['forgotten'\]; accepted are \['forget', 'facts'\]"),
        ({"streams": ["empty"]}, r"stream 'empty' is empty"),
        ({"max_length": 40}, r"row \d+ of the stream 'forget' has \d+ tokens, more than max_length=40"),
        ({"batch_size": 6}, r"batch_size=6 .* micro_batch_size=4 times 1 device.*batch_size=4 or 8 would"),
        ({"batch_size": 2}, r"batch_size=4 would"),
    ],
)
def test_setup_refuses(tokenizer, options, message):
    data = Mills(tokenizer, **options)

    with pytest.raises(ValueError, match=message):
        data.setup("fit")


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"eval_batch_size": -1}, {"max_length": 0}, {"streams": []}])
def test_construction_refuses(tokenizer, options):
    (name,) = options

    with pytest.raises(ValueError, match=name):
        Mills(tokenizer, **options)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "Who?", "answer": "  "}, r"row 1 of the stream 'forget' is empty"),
        ({"question": "Who?", "answer": []}, r"Row 1 of the stream 'forget' has an empty answer"),
        (
            {"question": "Who?", "reply": "Maud"},
            r"Row 1 of the stream 'forget' has no column 'answer', only \['question'",
        ),
    ],
)
def test_rows_that_cannot_be_learned_are_refused(tokenizer, row, message):
    class Broken(UnlearningDataModule):
        def load_streams(self):
            return {"forget": [*questions("mill", 1), row], "retain": questions("lighthouse", 2)}

    with pytest.raises(ValueError, match=message):
        Broken(tokenizer).setup("fit")


def test_setup_may_be_called_again(tokenizer):
    data = Mills(tokenizer, batch_size=4)
    data.setup("fit")
    training = data._training

    data.setup("fit")
    data.setup("test")

    assert data._training == training  # the same datasets, compared by identity


def test_the_template_can_be_chosen(tokenizer):
    data = Mills(tokenizer, splits=["facts"], template=PlainTemplate("Q: ", " A: "))

    (batch,) = data.test_dataloader()["facts.generate"]

    assert tokenizer.decode(batch["prompt_ids"][0]) == "Q: Where is Osk? A:"


def test_arguments_are_kept_as_plain_data(tokenizer):
    data = Mills("somewhere", batch_size=8, template=ChatTemplate(system=None))

    assert data.hparams["tokenizer"] == "somewhere"
    assert data.hparams["template"] == {
        "class_path": "unlearn_pl.data.ChatTemplate",
        "init_args": {"system": None},
    }


def test_predict_dataloaders_are_the_prompts_of_the_splits(tokenizer):
    data = Mills(tokenizer, streams=["forget"], eval_batch_size=2)
    data.setup("predict")
    loaders = data.predict_dataloader()
    assert list(loaders) == ["forget.generate", "facts.generate"]
    seen = [index for batch in loaders["forget.generate"] for index in batch["index"].tolist()]
    assert sorted(seen) == [0, 1, 2, 3, 4]
