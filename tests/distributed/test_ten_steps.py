"""Ten steps on 2 ranks with accumulation and clipping: Gramians and weights are those of one process."""

import pytest
import torch

from tests.distributed import ten_steps_cases as cases

pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    made = {}

    def of(method):
        if method not in made:
            made[method] = cases.train(method, "auto", 1, 8, str(tmp_path_factory.mktemp("reference")))
        return made[method]

    return of


@pytest.mark.filterwarnings("ignore:SGD has a momentum of")
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
@pytest.mark.parametrize("method", list(cases.METHODS))
def test_ten_steps_on_two_ranks_equal_one_process(pool, alone, method, strategy, tmp_path):
    expected = alone(method)
    first, second = pool.run(cases.train, method, strategy, 2, 2, str(tmp_path / "reference"))
    assert first["closed"] == second["closed"] == expected["closed"] == 10
    assert len(first["gramians"]) == len(expected["gramians"]) > 0
    for key in ("progress", "distance"):
        assert torch.equal(first[key].nan_to_num(), second[key].nan_to_num())
        torch.testing.assert_close(first[key], expected[key], rtol=1e-5, atol=1e-9, equal_nan=True)
    for mine, theirs in zip(first["gramians"], expected["gramians"], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-18)
    for name, value in expected["state"].items():
        torch.testing.assert_close(first["state"][name], value, rtol=1e-5, atol=1e-10)
