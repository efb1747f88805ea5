"""The demo in its fast mode: everything it promises is there, and its models can be loaded."""

import json
import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from unlearn_pl.commands.demo import COLUMNS, main


@pytest.mark.filterwarnings("default")  # of Lightning, which the demo keeps quiet
def test_demo_writes_what_it_promises(tmp_path, capsys):
    main(["--folder", str(tmp_path), "--fast", "true"])
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results) == {"target", "retain", "graddiff", "mollm", "mollm_goals"}
    for name, metrics in results.items():
        assert all(math.isfinite(float(metrics[c])) for c in COLUMNS if (c, name) != ("forget_quality", "retain"))
        assert metrics["seconds"] > 0
    for picture in ("forgetting.png", "combination.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "mollm" / "hf")
    assert all(p.isfinite().all() for p in model.parameters())
    target = AutoModelForCausalLM.from_pretrained(tmp_path / "target" / "hf")
    moved = [not torch.equal(a, b) for a, b in zip(model.parameters(), target.parameters(), strict=True)]
    assert any(moved)
    printed = capsys.readouterr().out
    assert "model utility" in printed
    assert ">> Where the goals have led: forget 0." in printed
    assert "Next:" in printed
