"""Uploads on 2 ranks: rank 0 uploads, and no rank is left waiting, whatever happens."""

import pytest

from tests import hub as hubs
from tests.distributed import hub_cases as cases

pytestmark = pytest.mark.distributed


@pytest.mark.parametrize("failure", [None, 500, hubs.DROP])
def test_rank_0_uploads_and_all_ranks_go_on(pool, tmp_path, failure):
    first, second = pool.run(cases.upload, str(tmp_path), failure)
    assert second["uploaded"] is None
    assert second["said"] == []
    assert second["files"] == set()  # each rank has a hub of its own
    if failure is None:
        assert first["uploaded"]
        assert first["files"] == first["written"]
    else:
        assert first["uploaded"] is None
        assert len(first["said"]) == 1
        assert "model.safetensors" in first["written"]


def test_an_upload_that_is_not_allowed_is_an_error_on_every_rank(pool, tmp_path):
    first, second = pool.run(cases.upload, str(tmp_path), None, "read")
    assert "only reads" in first["error"]
    assert second["error"] == first["error"]
    assert second["requests"] == 0


def test_the_others_wait_in_turns(pool):
    for rank, (result, seconds) in enumerate(pool.run(cases.wait, 0.5)):
        assert result == (None if rank else "done")
        assert seconds >= 0.45
