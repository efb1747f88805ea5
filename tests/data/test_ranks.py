"""What all ranks together see in an optimizer step, for every stream of a data module, computed in one process."""

from collections import Counter

import pytest

from tests import kit
from unlearn_pl.data import Documents, QuestionAnswers, TextDataModule

STREAMS = ("forget", "forget.alternate", "retain", "normal")
BATCH_SIZE, EPOCHS, FORGET = 8, 5, 13


class Share(TextDataModule):
    """The data of one rank."""

    world = (1, 0)

    @property
    def _world(self) -> tuple[int, int]:
        return self.world


def seen(world: int, rank: int, micro_batch_size: int) -> dict[str, list[list[int]]]:
    """Stream to step to the examples that a rank sees in it."""
    texts = [row["answer"] * 2 for row in kit.rows("Una", 11)]
    data = Share(
        kit.tokenizer(),
        forget=QuestionAnswers(kit.rows("Oda", FORGET)),
        retain=QuestionAnswers(kit.rows("Ivo", 21)),
        normal=Documents(texts, chunk_length=16),
        streams=STREAMS,
        splits=[],
        batch_size=BATCH_SIZE,
        micro_batch_size=micro_batch_size,
        warn_of_duplicates=False,
    )
    data.world = (world, rank)
    steps: dict[str, list[list[int]]] = {stream: [] for stream in STREAMS}
    for epoch in range(EPOCHS):
        data._steps_done = lambda epoch=epoch: epoch * data.steps_per_epoch
        for window, _, _ in data.train_dataloader():
            for stream in STREAMS:
                assert len(window[stream]) == data.micro_batches_per_step
                steps[stream].append([i for part in window[stream] for i in part["index"].tolist()])
    assert len(data._training["normal"]) > len(texts)  # some have several chunks
    return steps


@pytest.fixture(scope="module")
def alone():
    return seen(1, 0, 8)


@pytest.mark.parametrize(("world", "micro_batch_size"), [(1, 2), (2, 4), (2, 1), (4, 2)])
def test_all_ranks_together_see_the_same_examples_in_every_step(alone, world, micro_batch_size):
    ranks = [seen(world, rank, micro_batch_size) for rank in range(world)]
    for stream in STREAMS:
        assert len(alone[stream]) == EPOCHS * 2
        for step, everybody in enumerate(alone[stream]):
            assert Counter(i for rank in ranks for i in rank[stream][step]) == Counter(everybody)


@pytest.mark.parametrize("stream", STREAMS)
def test_nobody_is_seen_twice_in_a_step_nor_before_everybody_was_seen_once(alone, stream):
    order = [example for step in alone[stream] for example in step]
    size = max(order) + 1
    for start in range(0, len(order) - size, size):
        assert sorted(order[start : start + size]) == list(range(size))
    assert all(len(set(step)) == BATCH_SIZE for step in alone[stream])
