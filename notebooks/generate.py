"""Write every notebook of this folder from the script of its name: ``python notebooks/generate.py``.

A script is divided by ``# %%`` (code) and ``# %% [markdown]`` (text in comments). Notebooks are written without outputs
and with numbered cell ids, so that they change only when their script does.
"""

import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode, v4

FOLDER = Path(__file__).parent


def scripts() -> list[Path]:
    """The scripts that notebooks are made of: ``01_name.py``."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.py"))


def notebook_of(script: Path) -> str:
    """The text of the notebook of ``script``."""
    parts = re.split(r"^# %%(.*)\n", script.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    cells = [
        cell(i, kind.strip(), source) for i, (kind, source) in enumerate(zip(parts[::2], parts[1::2], strict=True))
    ]
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return nbformat.writes(v4.new_notebook(cells=cells, metadata=metadata)) + "\n"


def cell(number: int, kind: str, source: str) -> NotebookNode:
    """One cell: ``kind`` is what stands behind the percent signs."""
    identity = f"cell-{number:02d}"
    if kind == "[markdown]":
        return v4.new_markdown_cell(re.sub(r"^# ?", "", source.strip(), flags=re.MULTILINE), id=identity)
    return v4.new_code_cell(source.strip(), id=identity)


def main() -> None:
    """Write all notebooks."""
    for script in scripts():
        script.with_suffix(".ipynb").write_text(notebook_of(script), encoding="utf-8")


if __name__ == "__main__":
    main()
