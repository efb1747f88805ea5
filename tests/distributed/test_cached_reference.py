"""One process, 2 ranks under DDP and 2 ranks under FSDP2 make the same cache, and train with it as with a copy."""

import pytest
import torch

from tests.distributed import cached_reference_cases as cases

pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Weights of one process with a frozen copy, and the folder of its cache."""
    folder = str(tmp_path_factory.mktemp("alone"))
    frozen, cached = cases.train("auto", 1, None), cases.train("auto", 1, folder)
    return {"state": frozen["state"], "cached": cached["state"], "folder": folder, "passes": cached["passes"]}


def assert_close(state, expected, **tolerance):
    for name, value in expected.items():
        torch.testing.assert_close(state[name], value, **tolerance)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_any_number_of_ranks_makes_the_same_cache_and_trains_alike(pool, alone, tmp_path, strategy):
    ranks = pool.run(cases.train, strategy, 2, str(tmp_path))
    assert alone["passes"] == [10, 14]  # in 3 and 4 batches, one of which a rank repeats
    for rank in ranks:
        assert rank["passes"] == [10, 14]
        assert rank["kinds"] == rank["optimized"]
        assert ("DTensor" in rank["kinds"]) == (strategy == "fsdp2")
        assert len(set(rank["kinds"])) == 1
    mine, theirs = cases.files(tmp_path), cases.files(alone["folder"])
    assert mine.keys() == theirs.keys() == {"forget.safetensors", "retain.safetensors"}
    for name, expected in theirs.items():
        assert mine[name].keys() == expected.keys()
        for key in ("keys", "lengths"):
            assert torch.equal(mine[name][key], expected[key])
        torch.testing.assert_close(mine[name]["logps"], expected["logps"], rtol=0, atol=1e-6)
    assert_close(alone["cached"], alone["state"], rtol=1e-4, atol=1e-6)
    assert_close(ranks[0]["state"], alone["state"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_a_cache_of_one_process_serves_two_ranks(pool, alone, strategy):
    ranks = pool.run(cases.train, strategy, 2, alone["folder"])
    assert [rank["passes"] for rank in ranks] == [[], []]
    assert_close(ranks[0]["state"], alone["state"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_all_ranks_refuse_together(pool, alone, tmp_path, strategy):
    for seed, forget, what in ((1, 10, "weights of the reference model"), (0, 12, "rows of the stream")):
        said = pool.run(cases.refusal, strategy, alone["folder"], seed, forget)
        assert said[0] == said[1]
        assert what in said[0]
    assert pool.run(cases.failure, strategy, str(tmp_path / "file")) == ["FileExistsError"] * 2


def test_a_sharded_model_is_sharded_after_the_pass(pool, tmp_path):
    for kinds in pool.run(cases.kinds_after_the_pass, str(tmp_path)):
        assert set(kinds) == {"DTensor"}
