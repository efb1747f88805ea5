"""An import points to a lower layer or inside its own folder; folders of one layer never import each other."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "unlearn_pl"
LAYERS = [
    {"types", "recording", "upgrading"},
    {"functional", "results"},
    {"models"},
    {"objectives", "combiners", "masks", "references", "metrics", "data"},
    {"gradients", "optim"},
    {"modules"},
    {"callbacks", "attribution"},
    {"robustness", "report"},
    {"commands"},
    {"cli"},
]
LAYER_OF = {name: level for level, names in enumerate(LAYERS) for name in names}
LAZY = {"wandb", "peft", "torchjd", "matplotlib", "lm_eval"}
FILES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_modules(tree: ast.AST, path: Path) -> list[str]:
    """Absolute names of everything imported, relative imports resolved."""
    package = ["unlearn_pl", *path.relative_to(PACKAGE).parent.parts]
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names += [f"{module}.{alias.name}" if module == "unlearn_pl" else module for alias in node.names]
    return names


def violations(path: Path, source: str) -> list[str]:
    part = part_of(path)
    found = []
    for name in imported_modules(ast.parse(source), path):
        if not name.startswith("unlearn_pl.") or name == "unlearn_pl.__version__":
            continue
        other = name.split(".")[1]
        if other != part and LAYER_OF[other] >= LAYER_OF.get(part, len(LAYERS)):
            found.append(f"{part} imports {name}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    assert violations(path, path.read_text()) == []


def test_the_check_sees_upward_sideways_and_relative_imports():
    path = PACKAGE / "combiners" / "invented.py"
    upward, sideways = "from unlearn_pl.modules import MOLLM", "from unlearn_pl.data import x"
    source = "\n".join([upward, sideways, "from ..callbacks import y", "from . import z"])
    assert len(violations(path, source)) == 3


def test_every_folder_has_a_layer():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert folders <= set(LAYER_OF)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_imports_are_lazy_and_files_are_short(path):
    tree = ast.parse(path.read_text())
    top_level = [
        n for node in tree.body for n in imported_modules(node, path) if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert not {name.split(".")[0] for name in top_level} & (LAZY | {"pytorch_lightning"})
    assert len(path.read_text().splitlines()) <= 400
