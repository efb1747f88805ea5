"""One folder with a tiny model for all tests of attacks."""

import pytest

from tests.robustness.subjects import make_folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> str:
    return make_folder(tmp_path_factory.mktemp("models") / "audited")
