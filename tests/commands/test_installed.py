"""The package as it is published: the wheel, built from the source distribution, works without the repository."""

import os
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

import unlearn_pl

ROOT = Path(__file__).parents[2]
PACKED = (".py", ".yaml", ".j2", ".js", ".css", ".typed")
BUILD = "from setuptools import build_meta; build_meta.build_{}('dist')"


def built(folder: Path, kind: str, pattern: str) -> Path:
    subprocess.run([sys.executable, "-c", BUILD.format(kind)], cwd=folder, check=True, capture_output=True)
    (file,) = (folder / "dist").glob(pattern)
    return file


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What pip makes of the wheel, in a folder; the dependencies are those of this environment."""
    pytest.importorskip("setuptools", minversion="77")
    pytest.importorskip("pip")
    source, unpacked, target = (tmp_path_factory.mktemp(name) for name in ("source", "unpacked", "installed"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("unlearn_pl", "experiments"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    with tarfile.open(built(source, "sdist", "*.tar.gz")) as archive:
        archive.extractall(unpacked, filter="data")
    (folder,) = unpacked.iterdir()
    wheel = built(folder, "wheel", "*.whl")
    options = ["--no-deps", "--no-index", "--no-compile", "--quiet", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    return target


@pytest.fixture
def call(installed, tmp_path):
    """Runs the installed command in an empty folder, and returns what it prints."""

    def call(*arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(installed), "MPLCONFIGDIR": str(tmp_path / "matplotlib")}
        run = [sys.executable, str(installed / "bin" / "unlearn-pl"), *arguments]
        done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return call


def test_the_wheel_holds_the_package_and_its_recipes(installed):
    expected = {path.relative_to(ROOT): path for path in (ROOT / "unlearn_pl").rglob("*") if path.suffix in PACKED}
    for recipe in (ROOT / "experiments").rglob("*.yaml"):
        expected[Path("unlearn_pl", "recipes", recipe.relative_to(ROOT / "experiments"))] = recipe
    files = {path.relative_to(installed): path for path in (installed / "unlearn_pl").rglob("*") if path.is_file()}
    assert files.keys() == expected.keys()
    assert not [name for name, path in files.items() if path.read_bytes() != expected[name].read_bytes()]
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == {"unlearn_pl", "bin"}


def test_what_an_index_shows_of_the_package(installed):
    (folder,) = installed.glob("*.dist-info")
    metadata = PathDistribution(folder).metadata
    assert metadata["Version"] == unlearn_pl.__version__
    assert metadata["Description-Content-Type"] == "text/markdown"
    description = metadata.get_payload() or metadata["Description"]
    assert str(description).strip() == (ROOT / "README.md").read_text(encoding="utf-8").strip()
    assert metadata["License-Expression"] == "MIT"
    assert (folder / "licenses" / "LICENSE").is_file()


def test_the_command_is_that_of_the_wheel(installed, call):
    assert f"Files: {installed / 'unlearn_pl' / 'recipes'}" in call("recipes")
    printed = call("fit", "-c", "experiments/debug/mollm.yaml", "--print_config")
    assert "class_path: unlearn_pl.modules.MOLLM" in printed


@pytest.mark.slow
def test_the_first_commands_of_a_user(call, tmp_path):
    assert "The report, for a browser: runs/demo/report.html" in call("demo", "--fast")
    call("recipes")
    for recipe in ("synthetic/fine_tune", "synthetic/mollm"):  # the models of a fast demo know nothing to forget
        call("fit", "-c", recipe, "--trainer.enable_progress_bar=false")
    written = {path.relative_to(tmp_path / "runs").as_posix() for path in (tmp_path / "runs").rglob("*")}
    assert {"demo/report.html", "synthetic/mollm/hf/model.safetensors", "synthetic/mollm/cost.json"} <= written
