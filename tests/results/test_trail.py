import hashlib
import json
import multiprocessing
import tracemalloc

import pytest

from unlearn_pl.results import append_to_trail, read_trail
from unlearn_pl.results import trail as module


@pytest.fixture
def trail(tmp_path):
    path = tmp_path / "new" / "trail.jsonl"
    for i in range(4):
        append_to_trail(path, {"event": f"number {i}", "value": float("nan") if i == 2 else i})
    return path


def test_entries_are_lines_that_hold_the_hash_of_the_line_before(trail):
    lines = trail.read_bytes().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["number 0", "number 1", "number 2", "number 3"]
    hashes = ["0" * 64, *(hashlib.sha256(line).hexdigest() for line in lines)]
    assert [json.loads(line)["previous"] for line in lines] == hashes[:-1]
    assert read_trail(trail) == [json.loads(line) for line in lines]
    assert read_trail(trail)[2]["value"] == "NaN"


def test_a_trail_that_is_not_there_is_empty(tmp_path):
    assert read_trail(tmp_path / "trail.jsonl") == []


def test_earlier_lines_stay_as_they_are(trail):
    before = trail.read_bytes()
    append_to_trail(trail, {"event": "more"})
    assert trail.read_bytes().startswith(before)


def test_a_missing_last_line_break_joins_no_lines(trail):
    before = trail.read_bytes()
    trail.write_bytes(before.rstrip(b"\n"))
    append_to_trail(trail, {"event": "more"})
    assert trail.read_bytes().startswith(before)
    assert read_trail(trail)[-1]["event"] == "more"


@pytest.mark.parametrize("line", [1, 2])
@pytest.mark.parametrize("change", ["changed", "removed", "inserted", "swapped"])
def test_tampering_is_found(trail, line, change):
    lines = trail.read_bytes().splitlines(keepends=True)
    if change == "changed":
        lines[line] = lines[line].replace(b"number", b"nothing")
    elif change == "removed":
        del lines[line]
    elif change == "inserted":
        lines.insert(line, lines[line - 1])
    else:
        lines[line], lines[line + 1] = lines[line + 1], lines[line]
    trail.write_bytes(b"".join(lines))

    at = line + (2 if change == "changed" else 1)
    with pytest.raises(ValueError, match=f"Line {at} of .*trail.jsonl' does not follow the line before it"):
        read_trail(trail)
    with pytest.raises(ValueError, match=f"Line {at}"):
        append_to_trail(trail, {"event": "more"})


def test_half_a_line_is_found(trail):
    trail.write_bytes(trail.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"Line 4 of .* is not JSON"):
        read_trail(trail)


def _append(path, name):
    for i in range(10):
        append_to_trail(path, {"who": name, "number": i})


def test_several_processes_write_to_one_trail(tmp_path):
    path = tmp_path / "trail.jsonl"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_append, args=(path, name)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    entries = [(entry["who"], entry["number"]) for entry in read_trail(path)]
    assert sorted(entries) == [(name, i) for name in "ab" for i in range(10)]
    assert sorted(path.parent.iterdir()) == sorted([path, path.with_name(".trail.jsonl.lock")])


def test_an_entry_costs_time_and_memory_in_proportion_to_the_trail(tmp_path, monkeypatch):
    path, parsed = tmp_path / "trail.jsonl", []
    for i in range(100):
        append_to_trail(path, {"event": "forgotten", "request": f"number {i}", "metrics": {"value": i / 7}})
    parse = module.parse_json
    monkeypatch.setattr(module, "parse_json", lambda line: parsed.append(line) or parse(line))
    tracemalloc.start()
    append_to_trail(path, {"event": "more"})
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(parsed) == 100  # every line once
    assert most < 40 * path.stat().st_size
