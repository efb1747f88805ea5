"""Requests on 2 ranks leave one trail, and the same models and numbers as one process."""

import pytest

from tests import kit
from tests.distributed import requests_cases as cases
from unlearn_pl.models import save_pretrained
from unlearn_pl.results import read_trail

pytestmark = pytest.mark.distributed


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_ranks_write_one_trail(pool, tmp_path, strategy):
    save_pretrained(kit.model(), tmp_path / "target")
    open_alone, expected = cases.carry_out("auto", str(tmp_path / "target"), str(tmp_path / "one"), 1)
    ranks = pool.run(cases.carry_out, strategy, str(tmp_path / "target"), str(tmp_path / "two"), 2)

    trails = [read_trail(tmp_path / name / "trail.jsonl") for name in ("one", "two")]
    events = [("first", "forgotten"), ("first", "evaluated"), ("second", "forgotten"), ("second", "evaluated")]
    for trail in trails:
        assert [(entry["request"], entry["event"]) for entry in trail] == events
        assert trail[2]["weights_before"] == trail[0]["weights_after"] == trail[1]["weights"]
    for key in ("rows", "rows_sha256"):
        assert trails[0][0][key] == trails[1][0][key]
    assert trails[0][0]["weights_before"] == trails[1][0]["weights_before"]
    assert open_alone == []
    for still_open, metrics in ranks:
        assert still_open == []
        assert metrics == pytest.approx(expected, rel=1e-3)
