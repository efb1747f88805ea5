"""Files that Arrow reads: damaged ones that would end the process, and small ones that unfold to gigabytes."""

import json
import resource
import struct
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest

from tests import kit
from unlearn_pl.data import read_rows
from unlearn_pl.data.io.arrow_files import check_arrow_stream, content_size, parquet_rows
from unlearn_pl.data.streams.token_cache import TokenCache, write_tokens

ROWS = [{"question": f"Who? {i}", "answer": f"Maud {i}"} for i in range(9)]


def _damage(file: Path, length: int) -> None:
    """Let a text of ``length`` bytes end two gigabytes after its start."""
    data = file.read_bytes()
    offsets = struct.pack("<4i", 0, length, 2 * length, 3 * length)
    assert data.count(offsets)
    file.write_bytes(data.replace(offsets, struct.pack("<4i", 0, 0x7FFFFF00, 2 * length, 3 * length)))


def test_a_damaged_offset_raises_an_error_and_does_not_end_the_process(tmp_path):
    # Without the check, this process dies with SIGSEGV.
    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path))
    assert read_rows(str(tmp_path)) == ROWS
    (file,) = tmp_path.glob("*.arrow")
    _damage(file, len("Who? 0"))
    with pytest.raises(ValueError, match=r"\.arrow was cut off or changed.*ArrowInvalid"):
        read_rows(str(tmp_path))


def test_a_file_of_arrow_without_content(tmp_path):
    (tmp_path / "a.arrow").write_bytes(b"")
    with pytest.raises((ValueError, OSError)):
        check_arrow_stream(tmp_path / "a.arrow")


def test_a_cache_of_an_earlier_version_without_digests_is_checked(tmp_path):
    write_tokens([row["answer"] for row in ROWS], kit.tokenizer(), tmp_path / "cache", eos=False, num_proc=1)
    (tmp_path / "cache" / "notes.json").write_text(json.dumps([]))
    TokenCache(tmp_path / "cache").check()
    file = tmp_path / "cache" / "tokens.arrow"
    file.write_bytes(file.read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"cache of tokens .* was changed.*tokens\.arrow was cut off"):
        TokenCache(tmp_path / "cache").check()


def test_parquet_unfolds_up_to_a_limit(tmp_path):
    texts = ["x" * 2**20] * 30
    pyarrow.parquet.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", compression="zstd")
    # One value in a dictionary, which the metadata counts once.
    repeated = pa.array([0] * 3_000, pa.int32())
    column = pa.DictionaryArray.from_arrays(repeated, pa.array(["x" * 2**19]))
    pyarrow.parquet.write_table(pa.table({"text": column}), tmp_path / "b.parquet", compression="zstd")
    for name in ("a.parquet", "b.parquet"):
        assert (tmp_path / name).stat().st_size < 2**17
        with pytest.raises(ValueError, match=rf"{name} unfolds to more than 16 MiB.*JSON Lines"):
            list(parquet_rows(tmp_path / name))


def test_little_is_decoded_before_parquet_reaches_its_limit(tmp_path):
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 3_000, pa.int32()), pa.array(["x" * 2**22]))
    pyarrow.parquet.write_table(pa.table({"text": column}), tmp_path / "a.parquet", compression="zstd")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="unfolds"):
        list(parquet_rows(tmp_path / "a.parquet"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600 * 2**10  # kilobytes; the file has 12 GB


def test_compressed_arrow_unfolds_up_to_a_limit(tmp_path):
    table = pa.table({"text": ["x" * 2**20] * 30})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with (
        pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file,
        pa.ipc.new_stream(file, table.schema, options=options) as to,
    ):
        to.write_table(table, max_chunksize=5)
    with pytest.raises(ValueError, match=r"a\.arrow unfolds to more than 16 MiB"):
        check_arrow_stream(tmp_path / "a.arrow")


WORDS = ["a longer text than twelve bytes", None, "b"]
COLUMNS = {
    "texts": pa.array(WORDS * 4),
    "dictionary": pa.array(WORDS * 4).dictionary_encode(),
    "numbers once": pa.array([1, 2, 1, 2] * 3).dictionary_encode(),
    "views": pa.array(WORDS * 4, pa.string_view()),
    "part of views": pa.array([*WORDS, *WORDS * 4], pa.string_view())[3:],
    "lists": pa.array([WORDS, [], None, WORDS] * 2),
    "lists of dictionaries": pa.ListArray.from_arrays([0, 6, 12], pa.array(WORDS * 4).dictionary_encode()),
    "records": pa.array([{"a": word, "b": 1} for word in WORDS * 4]),
    "records of dictionaries": pa.StructArray.from_arrays([pa.array(WORDS * 4).dictionary_encode()], ["a"]),
    "none": pa.array([None] * 4),
    "empty": pa.array([], pa.string_view()),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_values_count_as_often_as_they_occur(name):
    column = COLUMNS[name]
    texts = str(column.to_pylist()).count(WORDS[0])
    assert content_size(column) >= texts * len(WORDS[0])
    assert content_size(column) <= 60 * 13 + texts * len(WORDS[0])


def test_rows_of_parquet_come_in_order(tmp_path):
    rows = [{"n": i, "text": f"number {i}"} for i in range(1000)]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=300)
    assert list(parquet_rows(tmp_path / "a.parquet")) == rows
