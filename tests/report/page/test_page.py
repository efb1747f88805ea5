"""Reports without a browser: what they say, what they hide, and that they can be made again."""

import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import yaml

from tests.report import made_up_runs
from tests.report.page.made_up_folders import EVIL, SECRET, STEPS, made_up_family, made_up_run
from unlearn_pl import cli
from unlearn_pl.commands.report import main
from unlearn_pl.metrics import tofu_metrics
from unlearn_pl.report import compare_results, read_page, render, report_data
from unlearn_pl.report.page.redaction import redacted
from unlearn_pl.results import read_results, write_results

RESAMPLES = 20


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made_up_family(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def data(run):
    return report_data([run], resamples=RESAMPLES)


@pytest.fixture(scope="module")
def page(data):
    return render(data)


class Elements(HTMLParser):
    """Tags, attributes, and the texts of cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_the_models_before_and_without_the_forget_set_are_found(data):
    assert [(model["name"], model["role"]) for model in data["models"]] == [
        ("target", "before"),
        (f"run {EVIL[:8]}", "run"),
        ("retain", "retain"),
    ]


def test_numbers_are_those_of_results_json(data, run):
    results = read_results(run / "results.json")
    shown = {metric["name"]: metric["values"][run.name][0] for metric in data["metrics"]}
    assert shown == results.metrics
    cells = {(row["split"], row["index"]): row["scores"][run.name] for row in data["questions"]}
    probabilities = {(s, i): v for s, t in results.per_example.items() for i, v in t["probability"].items()}
    assert cells == probabilities


def test_intervals_are_those_of_compare(data, run):
    files = {name: run.parent / name / "results.json" for name in ("retain", "target", run.name)}
    runs = {name: read_results(file) for name, file in files.items()}
    retain = dict.fromkeys(runs, runs["retain"].per_example)
    expected = compare_results(runs, retain, resamples=RESAMPLES).values["forget_probability"]
    (metric,) = [metric for metric in data["metrics"] if metric["name"] == "forget_probability"]
    for name, estimate in expected.items():
        assert metric["values"][name] == pytest.approx([estimate.value, *estimate.interval])


def test_the_verdict_is_in_plain_words(data):
    texts = [one["text"] for one in data["runs"][0]["verdict"]]
    assert texts[0].startswith("Of 23 answers of the forget set, 2 are still given word for word")
    assert "a model that never saw them gives 2; before unlearning, it was 2." in texts[0]
    assert any("goals was met" in text or "goals were met" in text for text in texts)


def test_what_suffered_most_is_named(run, tmp_path):
    before = read_results(run.parent / "target" / "results.json")
    results = read_results(run / "results.json")
    good, bad = dict.fromkeys(results.per_example["real_authors"]["rouge"], 0.9), dict.fromkeys(range(0, 27, 3), 0.1)
    folders = []
    for name, rouge, old in (("before", good, before), ("after", bad, results)):
        scores = {**old.per_example, "real_authors": {**old.per_example["real_authors"], "rouge": rouge}}
        config = {**old.config, "evaluation": made_up_runs.evaluation(None)}
        metrics = tofu_metrics(scores)
        folders.append(tmp_path / name)
        changed = replace(old, per_example=scores, metrics=metrics, config=config)
        write_results(tmp_path / name / "results.json", changed)
    told = report_data(folders[1:], before=str(folders[0]), resamples=RESAMPLES)["runs"][0]["verdict"]
    (sentence,) = [one for one in told if one["text"].startswith("What suffered most is real authors rouge: 0.1 [0.1")]
    assert "11 % of the 0.9 before unlearning." in sentence["text"]
    assert sentence["tone"] == "bad"


def test_a_goal_whose_level_is_not_in_the_log_is_not_judged(run, tmp_path):
    folder = made_up_run(tmp_path / "run", 1)
    goals = {name: {"class_path": f"unlearn_pl.goals.{rule}", "init_args": {"share": 0.9}} for name, rule in RULES}
    (folder / "config_fit.yaml").write_text(yaml.safe_dump({"model": {"init_args": {"model": "m", "goals": goals}}}))
    data = report_data([folder], resamples=RESAMPLES)
    assert [(goal["bound"], goal["exact"], goal["met"]) for goal in data["runs"][0]["goals"]] == [
        (0.9, False, None)
    ] * 2
    assert any("the log of this run does not say" in one["text"] for one in data["runs"][0]["verdict"])
    log = folder / "logs" / "version_0" / "metrics.csv"
    header, *rows = log.read_text().splitlines()
    levels = {"forget": 0.5, "retain": 0.5}
    names = ",".join(f"train/goal/{name}" for name in levels)
    log.write_text("\n".join([f"{header},{names}", *(f"{row},0.5,0.5" for row in rows)]))
    data = report_data([folder], resamples=RESAMPLES)
    assert [(goal["exact"], goal["met"]) for goal in data["runs"][0]["goals"]] == [(True, True), (True, False)]


RULES = (("forget", "AtMost"), ("retain", "AtLeast"))


def test_training_is_summed_up(data):
    (run,) = data["runs"]
    (fight,) = run["conflicts"]
    assert fight == {"pair": "forget-retain", "steps": STEPS, "against": STEPS // 2, "mean": 0}
    assert run["cost"][0] == ["optimizer steps", STEPS]
    assert run["curves"]["share"]["forget"][0] == [1, 0.5]
    (goal,) = run["goals"]
    assert (goal["bound"], goal["met"]) == (0.3, True)


def test_texts_from_files_are_text_and_nothing_else(page):
    found = Elements(page)
    assert [attributes.get("type") for tag, attributes in found.tags if tag == "script"] == ["application/json", None]
    assert not [
        tag for tag, attributes in found.tags if tag == "img" or any(key.startswith("on") for key in attributes)
    ]
    assert html.escape(EVIL, quote=False).split("&gt;")[0] in page


def test_the_page_loads_nothing_and_allows_nothing(page):
    found = Elements(page)
    policies = [a["content"] for _, a in found.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies[0].startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policies[0]
    links = [value for _, a in found.tags for key, value in a.items() if key in ("src", "href", "action")]
    assert not [value for value in links if not value.startswith(("#", "data:,"))]
    assert not [tag for tag, a in found.tags if "style" in a]


def test_every_label_and_link_has_its_target(page):
    found = Elements(page)
    ids = [a["id"] for _, a in found.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for tag, a in found.tags if tag == "a"} <= set(ids)
    assert {a["aria-labelledby"] for _, a in found.tags if "aria-labelledby" in a} <= set(ids)
    assert all(a.get("aria-label") for tag, a in found.tags if tag == "svg" and a.get("role") == "img")


def test_a_page_is_made_again_from_itself_byte_for_byte(page, data, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(page, encoding="utf-8")
    assert render(read_page(file)) == page


def test_a_changed_page_is_found(page, tmp_path):
    file = tmp_path / "page.html"
    data = re.search(r'id="report-data">(.*?)</script>', page)[1]
    assert '"benchmark":"tofu"' in data
    file.write_text(page.replace(data, data.replace('"benchmark":"tofu"', '"benchmark":"muse"')))
    with pytest.raises(ValueError, match="was changed after it was written"):
        read_page(file)
    file.write_text("<html></html>")
    with pytest.raises(ValueError, match="not a page of `unlearn-pl report`"):
        read_page(file)


@pytest.fixture(scope="module")
def hidden(data):
    return render(redacted(data))


def test_a_redacted_page_holds_nothing_of_the_forget_set(hidden, page):
    assert SECRET in page
    assert "Q forget 3?" in page
    for text in (SECRET, "Q forget", "guess 3\n", "New Carrick", EVIL):
        assert text not in hidden, text
        assert text not in html.unescape(hidden), text
    assert "Q retain 0?" in hidden
    assert "guess" in page
    assert "guess" not in hidden
    assert "As they say, [redacted]." in hidden


def test_a_page_is_redacted_later_and_has_pictures_beside_it(page, hidden, tmp_path):
    (tmp_path / "open.html").write_text(page, encoding="utf-8")
    main([str(tmp_path / "open.html"), "--output", str(tmp_path / "hidden.html"), "--redact", "true"])
    assert (tmp_path / "hidden.html").read_text(encoding="utf-8") == hidden
    figures = list((tmp_path / "hidden_figures").iterdir())
    assert len(figures) > 5
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in figures)


# What is missing, and what does not fit ------------------------------------------------------------------------------


def test_a_lone_evaluation_is_reported_with_what_is_missing(run, tmp_path):
    results = read_results(run / "results.json")
    config = {**results.config, "evaluation": {"class_path": results.config["evaluation"]["class_path"]}}
    metrics = {name: value for name, value in results.metrics.items() if "quality" not in name}
    write_results(tmp_path / "results.json", replace(results, config=config, metrics=metrics))
    data = report_data([tmp_path], resamples=RESAMPLES)
    page = render(data)
    assert [model["role"] for model in data["models"]] == ["run"]
    for text in ("No log of training", "No predictions.jsonl", "No evaluation of the retain model was found"):
        assert text in page
    assert "No attacks on these weights were found" in page


def test_folders_that_are_no_runs(run, tmp_path):
    with pytest.raises(ValueError, match=r"has no results\.json\. `unlearn-pl test` writes one"):
        report_data([tmp_path])
    with pytest.raises(ValueError, match=r"Its folders .*retain.*target have one"):
        report_data([run.parent])
    with pytest.raises(ValueError, match="There is no file or folder"):
        report_data([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="needs at least one run"):
        report_data([])
    with pytest.raises(ValueError, match="A run is given twice"):
        report_data([run, run / "results.json"])
    with pytest.raises(ValueError, match=r"no attacks\.json or audit\.json"):
        report_data([run], attacks=[str(tmp_path)])


def test_runs_of_different_benchmarks_are_not_mixed(run, tmp_path):
    other = read_results(run / "results.json")
    write_results(tmp_path / "results.json", replace(other, benchmark="muse"))
    with pytest.raises(ValueError, match="cannot be compared: the benchmark is 'tofu'"):
        report_data([run, tmp_path])


def test_damaged_files_are_named(run, tmp_path):
    folder = made_up_run(tmp_path / "run", 1)
    (folder / "predictions.jsonl").write_text('{"split": "forget"}\n')
    with pytest.raises(ValueError, match=r"Line 1 of '.*predictions\.jsonl' is not an answer"):
        report_data([folder])


def test_answers_that_are_no_text_are_named(tmp_path):
    folder = made_up_run(tmp_path / "run", 1)
    (folder / "predictions.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"predictions\.jsonl' is not a text file in UTF-8"):
        report_data([folder])


def test_pictures_that_are_missing_or_damaged_are_named(tmp_path):
    folder = made_up_run(tmp_path / "run", 1)
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "cut.png").write_bytes(b"")
    (folder / "other.png").write_text("no picture")
    (folder / "folder.png").mkdir()
    (folder / "whole.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    data = report_data([folder], resamples=RESAMPLES)
    assert [picture["name"] for picture in data["runs"][0]["pictures"]] == ["whole.png"]
    page = render(data)
    assert "Not shown of the pictures: cut.png, folder.png, gone.png, ..." in page


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["{empty}"], "has no results.json. `unlearn-pl test` writes one"),
        (["{run}", "{other}"], "the benchmark is 'tofu'"),
        (["{run}", "--retain", "{other}"], "the benchmark is 'tofu'"),
        (["{run}", "--output", "/proc/nowhere/report.html"], "cannot be written to"),
        (["{run}", "{empty}/page.html"], "A page is made again alone"),
    ],
)
def test_what_cannot_be_reported_is_one_line_and_status_1(run, tmp_path, capsys, arguments, told):
    (tmp_path / "empty").mkdir()
    write_results(tmp_path / "muse" / "results.json", replace(read_results(run / "results.json"), benchmark="muse"))
    places = {"run": run, "other": tmp_path / "muse", "empty": tmp_path / "empty"}
    with pytest.raises(SystemExit) as ended:
        cli.main(["report", *(argument.format(**places) for argument in arguments)])
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert told in error
    assert "Traceback" not in error


def test_a_folder_that_cannot_be_written_to_is_found_before_the_work(run, monkeypatch):
    monkeypatch.setattr("unlearn_pl.report.report_data", lambda *a, **k: pytest.fail("worked before the check"))
    with pytest.raises(ValueError, match="cannot be written to"):
        main([str(run), "--output", "/proc/nowhere/report.html"])


def test_a_resumed_log_continues_the_one_before(tmp_path):
    from tests.report.page.made_up_folders import write_log
    from unlearn_pl.report.page.folder import read_run

    folder = made_up_run(tmp_path / "run", 1)
    write_log(folder / "logs" / "version_1" / "metrics.csv", first=STEPS - 1)
    steps = [step for step, _ in read_run(folder).history["train/loss/forget"]]
    assert steps == list(range(1, 2 * STEPS - 1))


def test_the_data_is_json(data):
    assert json.loads(json.dumps(data)) == data
