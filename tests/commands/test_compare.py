"""`unlearn-pl compare` on files: names, formats, where the retain model is looked for, and what is refused."""

import csv
import json
import re
from dataclasses import replace

import pytest

from tests.report.made_up_runs import evaluation, ratios, results, scores
from unlearn_pl.cli import main
from unlearn_pl.results import read_json, write_json, write_results


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """`one/results.json` and `two/results.json`, made with `retain/results.json`, in the working directory."""
    monkeypatch.chdir(tmp_path)
    write_results("retain/results.json", results(9, None))
    for name, seed in (("one", 1), ("two", 2)):
        write_results(f"{name}/results.json", with_retain(results(seed), "retain/results.json"))
    return tmp_path


def with_retain(run, path, **arguments):
    return replace(run, config={**run.config, "evaluation": evaluation(path, output="x", **arguments)})


def compare(*arguments: str) -> None:
    main(["compare", *arguments, "--resamples", "20"])


def refused(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit_:
        compare(*arguments)
    assert exit_.value.code == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"error: .*\n", captured.err)
    return captured.err


def test_folders_and_files_have_the_names_of_their_folders(folder, capsys):
    compare("one", "two/results.json", "retain")
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert captured.err == ""
    assert lines[2].split() == ["metric", "one", "two", "retain", "two", "-", "one", "retain", "-", "one"]
    quality = next(line for line in lines if line.startswith("forget_quality"))
    assert quality.count("[") == 3  # of both runs, and of their difference


def test_names_are_whole_paths_where_folders_are_not_distinct(folder, capsys):
    for seed in (1, 2):
        write_results(f"{seed}/eval/results.json", results(seed, None))
    compare("1/eval", "2/eval", "--format", "csv")
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {row["run"] for row in rows} == {"1/eval/results.json", "2/eval/results.json"}


def test_formats_and_options_reach_the_comparison(folder, capsys):
    compare("one", "two", "--format", "json", "--level", "0.5", "--seed", "3")
    content = json.loads(capsys.readouterr().out)
    assert (content["level"], content["resamples"], content["seed"]) == (0.5, 20, 3)
    compare("one", "two", "--format", "json", "--level", "0.5", "--seed", "3")
    assert json.loads(capsys.readouterr().out) == content
    compare("one", "two", "--format", "markdown")
    assert capsys.readouterr().out.splitlines()[3] == "|---|---|---|---|"


def test_a_missing_retain_model_is_noted_or_given(folder, capsys):
    (folder / "retain").rename(folder / "moved")
    compare("one", "two")
    captured = capsys.readouterr()
    quality = next(line for line in captured.out.splitlines() if line.startswith("forget_quality"))
    assert "[" not in quality
    assert captured.err.count("note: ") == 1
    assert "'retain/results.json'" in captured.err
    compare("one", "two", "--retain_results", "moved/results.json")
    captured = capsys.readouterr()
    assert next(line for line in captured.out.splitlines() if line.startswith("forget_quality")).count("[") == 3
    assert captured.err == ""


def test_retain_models_are_compared_by_what_they_hold(folder, capsys):
    write_results("copy/results.json", results(9, None))
    write_results("two/results.json", with_retain(results(2), "copy/results.json"))
    compare("one", "two")
    assert "two - one" in capsys.readouterr().out
    write_results("copy/results.json", results(8, None))
    write_results("two/results.json", with_retain(results(2, 8), "copy/results.json"))
    assert "one and two cannot be compared: they were compared with different" in refused(capsys, "one", "two")
    (folder / "copy" / "results.json").unlink()
    assert "There is no file 'copy/results.json'" in refused(capsys, "one", "two")
    assert "'nowhere.json'" in refused(capsys, "one", "two", "--retain_results", "nowhere.json")


def test_a_retain_model_that_was_evaluated_again_is_found(folder, capsys):
    write_results("retain/results.json", results(8, None))
    assert ratios(8) != ratios(9)
    assert "forget_quality of one is" in refused(capsys, "one", "two")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a JSON file"),
        ("[]", "must hold a JSON object"),
        ('{"one": {"model_utility": 0.5}}', "it has no schema version"),
        ('{"schema_version": 2}', "it has 2"),
    ],
)
def test_damaged_and_foreign_files_are_refused_by_name(folder, capsys, content, message):
    (folder / "two" / "results.json").write_text(content)
    error = refused(capsys, "one", "two")
    assert message in error
    assert "two/results.json" in error


def test_other_questions_and_other_conventions_are_refused(folder, capsys):
    content = read_json("two/results.json")
    questions = {**content["questions"], "retain": {**content["questions"]["retain"], "3": "another"}}
    write_json("two/results.json", {**content, "questions": questions})
    assert "1 of the 17 questions of the split 'retain' differ, such as number 3" in refused(capsys, "one", "two")
    content["config"]["evaluation"]["init_args"]["truth_ratio_average"] = "arithmetic"
    write_json("two/results.json", content)
    assert "evaluation.truth_ratio_average is 'geometric' in one and 'arithmetic' in two" in refused(
        capsys, "one", "two"
    )


def test_a_number_that_was_edited_is_refused(folder, capsys):
    run = read_json("two/results.json")
    run["per_example"]["forget"]["rouge"]["0"] = scores(2)["forget"]["rouge"][0] + 0.1
    write_json("two/results.json", run)
    assert "forget_rouge of two is" in refused(capsys, "one", "two")


def test_missing_and_repeated_files_are_refused(folder, capsys):
    assert "There is no results file 'three'" in refused(capsys, "one", "three")
    (folder / "empty").mkdir()
    assert "There is no results file 'empty/results.json'" in refused(capsys, "one", "empty")
    assert "A file is given twice" in refused(capsys, "one", "one/results.json")
    assert "at least two runs" in refused(capsys, "one")


def test_typing_errors_are_refused_by_the_parser(folder, capsys):
    for arguments in (["one", "two", "--format", "html"], ["one", "two", "--levle", "0.9"], []):
        with pytest.raises(SystemExit) as exit_:
            main(["compare", *arguments])
        assert exit_.value.code == 2
    assert capsys.readouterr().out == ""
