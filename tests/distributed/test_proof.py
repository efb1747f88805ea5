"""Leaks, depth and the further benchmarks on 2 ranks are those of 1 process, with a cache that is complete."""

import pytest

from tests import kit
from tests.callbacks import evaluated
from tests.callbacks.test_uds import far
from tests.distributed import proof_cases as cases
from unlearn_pl.models import save_pretrained
from unlearn_pl.references.cache import ReferenceCache
from unlearn_pl.report import compare_results
from unlearn_pl.results import read_results

pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    found = {name: str(tmp_path_factory.mktemp(name)) for name in ("full", "retain", "unlearned")}
    for seed, folder in enumerate(found.values(), start=1):
        save_pretrained(far(seed), folder, kit.tokenizer())
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("alone")


@pytest.fixture(scope="module")
def alone(folders, place):
    return cases.prove("auto", 1, folders, str(place), 6)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_every_new_metric_is_exact(pool, folders, alone, tmp_path, strategy):
    first, second = pool.run(cases.prove, strategy, 2, folders, str(tmp_path), 2)
    assert first == second
    for (metrics, table), (mine, ours) in zip(first, alone, strict=True):
        assert len(metrics) > 1
        assert metrics == pytest.approx(mine, rel=1e-4, nan_ok=True)
        assert evaluated.flat(table) == pytest.approx(evaluated.flat(ours), rel=1e-3, abs=1e-4, nan_ok=True)
    leaks, expected = first[0][1]["forget"], alone[0][1]["forget"]
    assert {name: leaks[name] for name in leaks if "_at_" in name} == {k: v for k, v in expected.items() if "_at_" in k}
    offline, online = (first[place][1]["forget"]["likelihood_ratio"] for place in (2, -1))
    assert offline.keys() == online.keys()
    assert all(offline[row] != pytest.approx(online[row], abs=1e-3) for row in offline)
    cache, _ = ReferenceCache.read(tmp_path / "drops.safetensors")
    assert len(cache.keys) == 11


NO_INTERVAL = ("_low", "_high")


@pytest.mark.filterwarnings("ignore")
def test_compare_has_an_interval_of_every_new_metric(alone, place):
    for file in ("qa", "uds", "tofu", "online", "rwku", "lume", "wmdp"):
        results = read_results(place / f"{file}.json")
        values = compare_results({"mine": results, "again": results}, {}, resamples=20).values
        lacking = [name for name in results.metrics if name not in values or values[name]["mine"].interval is None]
        assert [name for name in lacking if not name.endswith(NO_INTERVAL)] == []
