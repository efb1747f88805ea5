"""The demo in its fast mode: everything it promises is there, and its models can be loaded."""

import json
import math
from contextlib import redirect_stdout
from io import StringIO

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.report.page.browser import chromium
from tests.report.page.checked import check
from unlearn_pl.commands.demo import COLUMNS, main
from unlearn_pl.report import read_page

pytestmark = [
    pytest.mark.filterwarnings("default"),  # of Lightning, which the demo keeps quiet
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of the demo, with what it has printed in ``printed.txt``."""
    folder = tmp_path_factory.mktemp("demo")
    with redirect_stdout(StringIO()) as printed:
        main(["--fast", "--folder", str(folder)])
    (folder / "printed.txt").write_text(printed.getvalue())
    return folder


def test_the_report_of_the_demo_works_in_a_browser(folder):
    data = read_page(folder / "report.html")
    runs = {model["name"]: folder / model["name"] for model in data["models"]}
    (name,) = {row["question"].split()[-1].strip("?").lower() for row in data["questions"][:1]}
    with chromium(folder) as browser:
        check(browser, folder / "report.html", runs, searched=name)


def test_demo_writes_what_it_promises(folder):
    results = json.loads((folder / "results.json").read_text())
    assert set(results) == {"target", "retain", "graddiff", "mollm", "mollm_goals"}
    for name, metrics in results.items():
        assert all(math.isfinite(float(metrics[c])) for c in COLUMNS if (c, name) != ("forget_quality", "retain"))
        assert metrics["seconds"] > 0
        assert 0 < metrics["forget_probability_relearned"] < 1
    assert len({metrics["forget_probability_relearned"] for metrics in results.values()}) == len(results)
    for picture in ("forgetting.png", "combination.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    model = AutoModelForCausalLM.from_pretrained(folder / "mollm" / "hf")
    assert all(p.isfinite().all() for p in model.parameters())
    target = AutoModelForCausalLM.from_pretrained(folder / "target" / "hf")
    moved = [not torch.equal(a, b) for a, b in zip(model.parameters(), target.parameters(), strict=True)]
    assert any(moved)
    printed = (folder / "printed.txt").read_text()
    assert printed.rstrip().endswith(f"The report, for a browser: {folder / 'report.html'}")
    data = read_page(folder / "report.html")
    assert [(model["name"], model["role"]) for model in data["models"]] == [
        *(("target", "before"), ("graddiff", "run"), ("mollm", "run"), ("mollm_goals", "run"), ("retain", "retain")),
    ]
    assert [goal["exact"] for goal in data["runs"][2]["goals"]] == [True, True]
    assert all(row["question"] and row["given"].keys() == results.keys() for row in data["questions"])
    assert dict(data["runs"][1]["cost"])["seconds of training"] > 0
    assert "model utility" in printed
    assert all(title in printed for title in ("before", "weighted sum", "MOLLM with goals", "retrained", "relearned"))
    assert ">> Where the goals have led: forget 0." in printed
    assert "Next:\n  unlearn-pl demo " in printed
    assert "half the probability of the forget answers before" in printed
    assert "of answers that it never saw" not in printed
