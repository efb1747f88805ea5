"""Continuous integration tries the lowest versions that pyproject.toml accepts."""

import importlib.util
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def lowest_versions():
    spec = importlib.util.spec_from_file_location("lowest_versions", ROOT / ".ci" / "lowest_versions.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.lowest_versions


def test_every_dependency_has_a_lower_bound(lowest_versions):
    found = dict(line.split("==") for line in lowest_versions(PROJECT))
    assert {"torch", "lightning", "transformers", "peft", "torchjd", "lm-eval", "nbformat"} <= found.keys()
    assert not {"pytest", "ruff"} & found.keys()
    assert len(found) == len(PROJECT["dependencies"]) + 7


def test_forms_of_requirements(lowest_versions):
    def project(*needed, **extras):
        return {"dependencies": list(needed), "optional-dependencies": extras}

    assert lowest_versions(project("b[x,y]>=2.6, <2.7", a_c=["a-c>=0.1"], dev=["d>=1"])) == ["a-c==0.1", "b==2.6"]
    with pytest.raises(ValueError, match="'b' must be of the form"):
        lowest_versions(project("b"))
