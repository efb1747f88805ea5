"""The demo in its fast mode: everything it promises is there, and its models can be loaded."""

import json
import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from unlearn_pl.commands.demo import COLUMNS, main
from unlearn_pl.report import read_page


@pytest.mark.filterwarnings("default")  # of Lightning, which the demo keeps quiet
def test_demo_writes_what_it_promises(tmp_path, capsys):
    main(["--folder", str(tmp_path), "--fast", "true"])
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results) == {"target", "retain", "graddiff", "mollm", "mollm_goals"}
    for name, metrics in results.items():
        assert all(math.isfinite(float(metrics[c])) for c in COLUMNS if (c, name) != ("forget_quality", "retain"))
        assert metrics["seconds"] > 0
        assert 0 < metrics["forget_probability_relearned"] < 1
    assert len({metrics["forget_probability_relearned"] for metrics in results.values()}) == len(results)
    for picture in ("forgetting.png", "combination.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "mollm" / "hf")
    assert all(p.isfinite().all() for p in model.parameters())
    target = AutoModelForCausalLM.from_pretrained(tmp_path / "target" / "hf")
    moved = [not torch.equal(a, b) for a, b in zip(model.parameters(), target.parameters(), strict=True)]
    assert any(moved)
    printed = capsys.readouterr().out
    assert printed.rstrip().endswith(f"The report, for a browser: {tmp_path / 'report.html'}")
    data = read_page(tmp_path / "report.html")
    assert [(model["name"], model["role"]) for model in data["models"]] == [
        *(("target", "before"), ("graddiff", "run"), ("mollm", "run"), ("mollm_goals", "run"), ("retain", "retain")),
    ]
    assert [goal["exact"] for goal in data["runs"][2]["goals"]] == [True, True]
    assert all(row["question"] and row["given"].keys() == results.keys() for row in data["questions"])
    assert dict(data["runs"][1]["cost"])["seconds of training"] > 0
    assert "model utility" in printed
    assert all(title in printed for title in ("before", "weighted sum", "MOLLM with goals", "retrained", "relearned"))
    assert ">> Where the goals have led: forget 0." in printed
    assert "Next:" in printed
