"""What is known beforehand about the examples that training will show."""

import pytest

from tests import kit
from unlearn_pl.data import PlainTemplate, with_refusals
from unlearn_pl.models import train_tokenizer

REFUSALS = ["No.", "I cannot say.", "This is unknown to me.", "I have no idea who that could be."]


class Data(kit.Questions):
    answer = ""

    def load_streams(self):
        streams = super().load_streams()
        streams["forget"][3]["answer"] += self.answer
        return {**streams, "forget.alternate": with_refusals(streams["forget"], REFUSALS)}


def made(**options) -> Data:
    streams = ["forget", "retain", "forget.alternate"]
    return Data(**{"streams": streams, "batch_size": 6, "micro_batch_size": 3} | options)


def tokens(ids, length):
    return tuple(ids[:length])


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_examples_are_those_that_the_loader_shows(epochs):
    data = made()
    data.setup("fit")
    shown = {name: set() for name in data.streams}
    for epoch in range(epochs):
        data._steps_done = lambda epoch=epoch: epoch * data.steps_per_epoch
        for batch, *_ in data.train_dataloader():
            for name, part in ((name, part) for name, parts in batch.items() for part in parts):
                lengths = part["attention_mask"].sum(-1).tolist()
                columns = part["index"].tolist(), part["input_ids"].tolist(), lengths
                shown[name] |= {(index, tokens(ids, n)) for index, ids, n in zip(*columns, strict=True)}
    for name, expected in shown.items():
        examples = data.training_examples(name, epochs * data.steps_per_epoch)
        assert len(examples) == len(expected)
        assert {(e.index, tuple(e.input_ids)) for e in examples} == expected


def test_without_a_number_of_steps_all_answers_are_given():
    data = made()
    assert [len(data.training_examples(name, None)) for name in data.streams] == [16, 24, 16 * len(REFUSALS)]
    assert [len(data.training_examples(name, 10**4)) for name in data.streams] == [16, 24, 16 * len(REFUSALS)]
    assert [len(data.training_examples(name, 2)) for name in data.streams] == [12, 12, 12]


def test_fingerprints_depend_on_rows_template_and_tokenizer_alone():
    plain = {name: made().stream_fingerprint(name) for name in made().streams}
    assert len(set(plain.values())) == 3
    for options in ({"seed": 5}, {"batch_size": 12, "micro_batch_size": 1}):
        assert {name: made(**options).stream_fingerprint(name) for name in plain} == plain
    other_template = made(template=PlainTemplate(question="Q: "))
    assert all(other_template.stream_fingerprint(name) != plain[name] for name in plain)
    fewer = made(forget=15)
    changed = made()
    changed.answer = " Or so."
    for data, same in ((fewer, {"retain"}), (changed, {"retain", "forget.alternate"})):
        assert {name for name in plain if data.stream_fingerprint(name) == plain[name]} == same


def test_fingerprints_see_another_tokenizer():
    other = made()
    other.tokenizer = train_tokenizer(REFUSALS, 280)
    assert other.stream_fingerprint("retain") != made().stream_fingerprint("retain")
