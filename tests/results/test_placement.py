"""Names of results files: what another evaluation has written stays."""

from dataclasses import replace

import pytest

from unlearn_pl.results import Results, free_path, read_results, set_aside, write_results

CONFIG = {"evaluation": {"class_path": "unlearn_pl.callbacks.QAEvaluation", "init_args": {}}}
A = Results("qa", {"p": 0.5}, {}, CONFIG, "c" * 64, "a" * 64, "m", questions={"forget": {0: "x", 1: "y"}})


def write(path, results):
    place = free_path(path, results)
    write_results(place, results)
    return place.name


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.json"


def test_other_weights_get_a_name_of_their_own(path):
    other = replace(A, weights_fingerprint="b" * 64)
    assert write(path, A) == "results.json"
    assert write(path, other) == "results_bbbbbbbb.json"
    assert write(path, other) == "results_bbbbbbbb.json"  # the same again
    assert read_results(path) == A


@pytest.mark.parametrize(
    ("change", "replaced"),
    [
        ({"metrics": {"p": 0.6}}, True),
        ({"config_hash": "d" * 64}, True),  # such as the folder that the same weights were read from
        ({"config_hash": "d" * 64, "questions": {"forget": {0: "x", 1: "y"}, "retain": {0: "z"}}}, True),
        ({"config_hash": "d" * 64, "questions": {"forget": {0: "x"}}}, False),  # fewer
        ({"config_hash": "d" * 64, "questions": {"forget": {0: "x", 1: "other"}}}, False),
        ({"config_hash": "d" * 64, "questions": {}}, False),
        ({"config_hash": "d" * 64, "benchmark": "tofu"}, False),
        ({"config_hash": "d" * 64, "config": {"evaluation": {"class_path": "a.B", "init_args": {}}}}, False),
    ],
)
def test_the_same_weights_replace_what_they_cover(path, change, replaced):
    write(path, A)
    assert (write(path, replace(A, **change)) == "results.json") is replaced


def test_other_questions_to_both_models_all_stay(path):
    other = replace(A, weights_fingerprint="b" * 64)
    fewer = replace(other, questions={"forget": {5: "v"}}, config_hash="d" * 64)
    names = [write(path, each) for each in (A, other, fewer)]
    assert names == ["results.json", "results_bbbbbbbb.json", "results_bbbbbbbb_dddddddd.json"]


def test_what_is_no_results_file_stays(path):
    path.write_text("{}")
    assert write(path, A) == "results_aaaaaaaa.json"
    assert path.read_text() == "{}"
    assert set_aside(path) is None
    assert path.exists()


def test_results_are_renamed_after_their_weights(path):
    write(path, A)
    assert set_aside(path) == path.with_name("results_aaaaaaaa.json")
    assert not path.exists()
    assert set_aside(path) is None
