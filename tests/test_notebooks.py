"""Notebooks are what their scripts say, and run."""

import importlib.util
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def generator():
    spec = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_notebooks_are_generated_from_their_scripts():
    generate = generator()
    assert [path.with_suffix(".ipynb") for path in generate.scripts()] == NOTEBOOKS
    for script in generate.scripts():
        assert script.with_suffix(".ipynb").read_text(encoding="utf-8") == generate.notebook_of(script), (
            "run `make notebooks`"
        )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_valid_and_keep_all_of_their_script(path):
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    script = path.with_suffix(".py").read_text(encoding="utf-8")
    assert all(cell.source for cell in notebook.cells)
    for cell in notebook.cells:
        lines = cell.source.splitlines()
        expected = [f"# {line}".rstrip() for line in lines] if cell.cell_type == "markdown" else lines
        assert "\n".join(expected) in script


@pytest.mark.filterwarnings("ignore")  # of Jupyter's own event loop and folders
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path, tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("UNLEARN_PL_FAST", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output.output_type == "error" for output in outputs)
