"""Names from files are text in terminals, Markdown, spreadsheets and figures, and nothing else."""

import csv
import io
import json
import re

import pytest

from tests.report.made_up_runs import results
from unlearn_pl.callbacks.export.model_card import model_card
from unlearn_pl.commands import attack, errors
from unlearn_pl.printable import (
    figure_text,
    markdown_block,
    markdown_code,
    markdown_text,
    printable,
    spreadsheet_text,
)
from unlearn_pl.report import compare_results, comparison_csv, comparison_json, comparison_markdown, comparison_text
from unlearn_pl.report.figures import plot_relearning
from unlearn_pl.robustness import Outcome

NAMES = {
    "escape": "\x1b]8;;http://evil\x07a\x1b[2J",
    "line": "a\nfake 1.0\r\u2028b",
    "direction": "a\u202egnp.exe",
    "link": "[click](http://evil)",
    "picture": "![x](http://evil/x.png)",
    "address": "http://evil and www.evil.com and a@evil.com",
    "html": "<img src=x onerror=alert(1)>",
    "column": "a | b",
    "code": "a `b` \\| c",
    "formula": '=HYPERLINK("http://evil","a")',
    "command": "@SUM(1+1)*cmd|' /C calc'!A0",
    "sum": "+1",
    "minus": "-1+cmd",
    "tab": "\t=1",
    "half": "a\ud800",
}
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e\ud800-\udfff]")


def test_ordinary_names_stay_as_they_are():
    for name in ("forget_probability", "mollm-2 (best)", "Öda / été", "p=0.5", "~/runs/a.b", "忘れる"):
        assert printable(name) == markdown_text(name) == spreadsheet_text(name) == figure_text(name) == name
    assert markdown_code("a_b") == "`a_b`"
    assert markdown_block("a\n\tb", "yaml") == "```yaml\na\n\tb\n```"


def test_what_is_in_the_place_of_others():
    assert printable("a\x1b[2J\n\u202e\ud800") == r"a\x1b[2J\x0a\u202e\ud800"
    assert printable("a\nb\x07", keep="\n") == "a\nb\\x07"
    assert markdown_text("[a](http://b) | <c> `d` www.e f@g") == (r"\[a\](http\://b) \| \<c\> \`d\` www\.e f\@g")
    assert markdown_code("a``b") == "``` a``b ```"
    assert markdown_block("```\n[a](b)") == "````\n```\n[a](b)\n````"
    assert spreadsheet_text("=1") == "'=1"
    assert figure_text("$x$") == r"\$x\$"


def cells(line: str) -> int:
    return len(re.findall(r"(?<!\\)(?:\\\\)*\|", line))


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_tables_of_compare(name):
    """The name of a run, a metric and the benchmark."""
    run = results(1, None, benchmark=name)
    run.metrics[name] = 0.5
    comparison = compare_results({"one": run, name: run}, resamples=2)
    text, markdown, table = (write(comparison) for write in (comparison_text, comparison_markdown, comparison_csv))
    assert not any(map(CONTROL.search, (text, markdown, table)))
    assert len(text.splitlines()) == len(markdown.splitlines()) - 1 == 3 + len(run.metrics)
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert {cells(line) for line in rows} == {5}
    assert not re.search(r"(?<!\\)\]\(|(?<!\\)<|[^\\]://|www\.e|[^\\]@", markdown)
    for row in csv.reader(io.StringIO(table)):
        assert not [cell for cell in row[:2] if cell.lstrip().startswith(("=", "+", "-", "@"))]
    assert json.loads(comparison_json(comparison))["runs"] == ["one", name]


@pytest.mark.parametrize("name", [NAMES["escape"], NAMES["line"], NAMES["half"]])
def test_errors(name):
    assert not CONTROL.search(errors.one_line(ValueError(f"There is no file {name}.")))


def outcome(name: str) -> Outcome:
    scores = {"forget_probability": 0.1}
    curve = {"step": [0.0, 1.0], "forget_probability": [0.1, 0.2]}
    return Outcome(name, "audited", "model", scores, scores, curve, 0, {}, "0", "f", 1.0)


def test_the_table_of_attacks(capsys):
    attack._print_table([outcome("a [link=http://evil]b[/link] \x1b[2J"), outcome("[/x] [bold]c")])
    shown = capsys.readouterr().out
    assert "a [link=http://evil]b[/link] \\x1b[2J" in shown
    assert "[/x] [bold]c" in shown
    assert "\x1b[2J" not in shown


def test_figures(tmp_path):
    curves = attack.relearning_curves([outcome(r"$\frac$"), outcome("a\x1b")])
    plot_relearning(curves, tmp_path / "a.png")
    assert (tmp_path / "a.png").is_file()


def test_the_card_of_a_model():
    import lightning.pytorch as pl

    from unlearn_pl.callbacks.export.measured import Measured
    from unlearn_pl.callbacks.export.prompting import Prompting

    module = pl.LightningModule()
    module.save_hyperparameters({"model": "a\n```\n[click](http://evil)"})
    prompting = Prompting("```\n[click](http://evil)\n\x1b[2J", None, None, {})
    card = model_card(module, None, prompting, [Measured("a | [b](http://evil)", "c", 0.0, None)], None, "f")
    assert "\n````\n```\n[click](http://evil)\n\\x1b[2J\n````\n" in card
    assert r"| a \| \[b\](http\://evil)/c | 0 | - | - |" in card
    assert not CONTROL.search(card)
