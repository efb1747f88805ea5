import gzip
import json
import math
import os
import re
from dataclasses import replace

import pytest

from unlearn_pl.results import Results, read_json, read_results, write_json, write_results

RESULTS = Results(
    benchmark="tofu",
    metrics={"model_utility": 0.1 + 0.2, "forget_quality": 1e-239, "broken": math.nan},
    per_example={"forget": {"truth_ratio": {3: 1 / 3, 10: math.inf, 0: -math.inf}, "rouge": {}}},
    config={"model": {"class_path": "x.Y", "init_args": {"beta": 0.1, "names": ["a", "NaN"]}}},
    config_hash="0" * 64,
    weights_fingerprint="f" * 64,
    model="tiny",
    seed=7,
)


def test_what_is_written_is_read_back_to_the_last_digit(tmp_path):
    write_results(tmp_path / "new" / "folder" / "results.json", RESULTS)
    read = read_results(tmp_path / "new" / "folder" / "results.json")
    assert math.isnan(read.metrics["broken"])
    finite = replace(read, metrics={**read.metrics, "broken": 0.0})
    assert finite == replace(RESULTS, metrics={**RESULTS.metrics, "broken": 0.0})


def test_the_file_is_strict_json_with_the_fields_of_the_schema(tmp_path):
    write_results(tmp_path / "results.json", RESULTS)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse)
    names = "schema_version benchmark metrics per_example config config_hash weights_fingerprint model versions seed"
    assert set(content) == {*names.split(), "created", "questions", "seal"}
    assert content["metrics"]["broken"] == "NaN"
    assert content["per_example"]["forget"]["truth_ratio"] == {"3": 1 / 3, "10": "Infinity", "0": "-Infinity"}
    assert content["config"]["model"]["init_args"]["names"] == ["a", "NaN"]
    assert set(content["versions"]) == {"python", "unlearn_pl", "torch", "lightning", "transformers"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", content["created"])


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "results.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["results.json"]


def test_gzipped_files_are_read(tmp_path):
    (tmp_path / "log.json.gz").write_bytes(gzip.compress(b'{"a": [1, NaN]}'))
    content = read_json(tmp_path / "log.json.gz")
    assert content["a"][0] == 1
    assert math.isnan(content["a"][1])


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.json", b'{"a": ', "is not a JSON file"),
        ("a.json", b"\xff\xfe\x00", "is not a JSON file"),
        ("a.json", b"[1, 2]", "must hold a JSON object; it holds a list"),
        ("a.json.gz", b'{"a": 1}', "is not a JSON file"),
        ("a.json.gz", gzip.compress(b'{"a": 1}', mtime=0)[:-9], "is not a JSON file"),
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=rf"{name}.*{message}"):
        read_json(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "of schema version 1; it has 2"),
        ({"schema_version": None}, "it has None"),
        ({"note": "mine"}, r"missing \[\], unknown \['note'\]"),
        ({"metrics": {"a": "high"}}, "not a number among its metrics: .*high"),
        ({"per_example": {"forget": 3}}, "not a number"),
    ],
)
def test_other_schemas_are_refused_with_a_reason(tmp_path, change, message):
    write_results(tmp_path / "results.json", RESULTS)
    write_json(tmp_path / "results.json", {**read_json(tmp_path / "results.json"), **change})
    with pytest.raises(ValueError, match=message):
        read_results(tmp_path / "results.json")


def test_files_without_a_schema_and_incomplete_files_are_refused(tmp_path):
    write_json(tmp_path / "a.json", {"metrics": {}})
    with pytest.raises(ValueError, match="it has no schema version"):
        read_results(tmp_path / "a.json")
    write_json(tmp_path / "b.json", {"schema_version": 1, "metrics": {}})
    with pytest.raises(ValueError, match=r"missing \['benchmark', 'config'"):
        read_results(tmp_path / "b.json")
