"""Two ranks share the weights of a text-to-image model, and train as one process."""

import pytest
import torch

from tests.diffusion_folder import make_folder
from tests.distributed import diffusion_cases as cases

pytestmark = [
    pytest.mark.distributed,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    pytest.importorskip("diffusers")
    return str(make_folder(tmp_path_factory.mktemp("diffusion")))


def test_the_tiny_model(pool):
    check(pool, "salun", None)


@pytest.mark.parametrize("name", ["esd", "adapters"])
def test_stable_diffusion(pool, name, folder):
    check(pool, name, folder)


def check(pool, name: str, folder: str | None) -> None:
    alone, _ = cases.trained(name, folder)
    shared, agrees = pool.run(cases.trained, name, folder, "fsdp2", 2)[0]
    assert agrees == ([True] if folder else [])
    assert shared.keys() == alone.keys()
    for key, value in shared.items():
        torch.testing.assert_close(value, alone[key], rtol=1e-5, atol=1e-9)
