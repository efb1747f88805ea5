"""Rows in memory are read from every common container, and none is taken for a list of its names."""

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from unlearn_pl.data import Chats, Documents, HubDataset, QuestionAnswers, read_rows
from unlearn_pl.data.streams.detect import detect_source

ROWS = [{"question": "Who?", "answer": "Maud."}, {"question": "Where?", "answer": "At home."}]
COLUMNS = {"question": ["Who?", "Where?"], "answer": ["Maud.", "At home."]}


class TorchRows(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(ROWS)


CONTAINERS = {
    "list": lambda: ROWS,
    "generator": lambda: (row for row in ROWS),
    "map": lambda: map(dict, ROWS),
    "dataset": lambda: datasets.Dataset.from_list(ROWS),
    "one split": lambda: datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS)),
    "one split of rows": lambda: {"train": ROWS},
    "streaming": lambda: datasets.IterableDataset.from_generator(lambda: iter(ROWS)),
    "one streaming split": lambda: datasets.IterableDatasetDict(
        train=datasets.IterableDataset.from_generator(lambda: iter(ROWS))
    ),
    "torch": TorchRows,
    "pandas": lambda: pd.DataFrame(ROWS, index=["a", "b"]),
    "arrow": lambda: pa.Table.from_pylist(ROWS),
    "stream of arrow": lambda: pa.Table.from_pylist(ROWS).to_reader(),
    "batches of arrow": lambda: [pa.RecordBatch.from_pylist([row]) for row in ROWS],
    "frames": lambda: (pd.DataFrame([row]) for row in ROWS),
    "dataset of arrays": lambda: datasets.Dataset.from_list(ROWS).with_format("numpy"),
    "dataset of arrow": lambda: datasets.Dataset.from_list(ROWS).with_format("arrow"),
    "dataset of frames": lambda: datasets.Dataset.from_list(ROWS).with_format("pandas"),
    "columns of arrow": lambda: {name: pa.array(column) for name, column in COLUMNS.items()},
    "columns": lambda: COLUMNS,
    "columns of arrays": lambda: {name: np.array(column) for name, column in COLUMNS.items()},
    "slice of a dataset": lambda: datasets.Dataset.from_list(ROWS)[:],
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_its_rows_as_often_as_asked(container):
    source = detect_source(CONTAINERS[container]())
    assert isinstance(source, QuestionAnswers)
    assert source.rows() == source.rows() == ROWS
    assert read_rows(CONTAINERS[container]()) == ROWS


def test_texts_of_a_generator_are_read_as_often_as_asked():
    source = Documents(row["answer"] for row in ROWS)
    assert list(source.texts()) == list(source.texts()) == COLUMNS["answer"]


def test_conversations_in_columns_and_frames():
    turns = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Maud."}]
    expected = Chats([{"messages": turns}]).rows()
    assert Chats({"messages": [turns]}).rows() == expected
    cell = np.empty(2, dtype=object)
    cell[:] = turns  # what pandas reads from Parquet
    assert Chats(pd.DataFrame({"messages": [cell]})).rows() == expected


def test_several_splits_are_named(monkeypatch):
    dataset = datasets.Dataset.from_list(ROWS)
    several = [
        datasets.DatasetDict(train=dataset, test=dataset),
        {"train": pd.DataFrame(ROWS), "test": pd.DataFrame(ROWS)},
        {"train": ROWS, "test": ROWS[:1]},
    ]
    for given in several:
        for read in (detect_source, QuestionAnswers, Documents, read_rows):
            with pytest.raises(ValueError, match=r"has the splits \['test', 'train'\]; accepted is one of them"):
                read(given)
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: several[0])
    with pytest.raises(ValueError, match=r"has the splits \['test', 'train'\]"):
        read_rows(HubDataset("somebody/questions", split=None))


@pytest.mark.parametrize("given", [ROWS[0], {"question": ["Who?"], "answer": []}, {}])
def test_a_dictionary_without_rows(given):
    with pytest.raises(ValueError, match=r"with the keys \[.*\] holds no rows; accepted are a list of rows, and col"):
        read_rows(given)


def test_an_iterator_that_was_read_before():
    rows = iter(ROWS)
    assert QuestionAnswers(rows).rows() == ROWS
    with pytest.raises(ValueError, match=r"list_iterator has no rows\. An iterator can be read only once; .* list\(ro"):
        QuestionAnswers(rows)


def test_what_is_no_row_is_named():
    with pytest.raises(ValueError, match="row 2 of the given rows: it is '3'; accepted is a mapping of columns"):
        read_rows([ROWS[0], 3])


def test_a_column_that_a_frame_has_twice():
    frame = pd.DataFrame([["a", "b", "c"]], columns=["question", "answer", "answer"])
    with pytest.raises(ValueError, match="the given data frame has 2 columns called 'answer'"):
        read_rows(frame)
