"""Every transformation on every module of the standard library: how many have a site, and does the result compile?

    python -m experiments.studies.code.standard_library

For each transformation, one random site of every module is rewritten. Renamed programs are compared with the original:
with the old name in the place of the new one, their syntax trees must be equal.
"""

import ast
import random
import sysconfig
from pathlib import Path

from jsonargparse import auto_cli

from unlearn_pl.code import TRANSFORMS, Program, RenameField, RenameLocal, RenameParameter
from unlearn_pl.code.program import compiles

WORD = "zebra_crossing"
RENAMING = (RenameField, RenameLocal, RenameParameter)


class Renamed(ast.NodeTransformer):
    """Puts a name in the place of :data:`WORD`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Variables, parameters and attributes."""
        super().generic_visit(node)
        for field in ("id", "arg", "attr"):
            if getattr(node, field, None) == WORD:
                setattr(node, field, self.name)
        return node


def modules() -> list[Path]:
    """The files of the standard library, without its tests."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    left_out = {"site-packages", "test", "tests", "lib2to3", "idlelib"}
    return sorted(path for path in folder.rglob("*.py") if not left_out & set(path.parts))


def study(seed: int = 0) -> None:
    """Print a line per transformation; raises ``AssertionError`` where one breaks a module.

    Args:
        seed: of the choice of sites.
    """
    programs = []
    for path in modules():
        try:
            source = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if (program := Program.parse(source)) is not None:
            programs.append((path, program))
    print(f"{len(programs)} modules\n\n| transformation | modules with a site | sites |\n|---|---|---|")
    for transform in TRANSFORMS:
        rng, rewritten, sites = random.Random(seed), 0, 0
        for path, program in programs:
            found = transform().sites(program)
            sites += len(found)
            if found:
                site = rng.choice(found)
                view = transform().rewrite(program, site, WORD)
                assert view is not None, (transform, path)
                assert compiles(view), (transform, path)
                if transform in RENAMING:
                    again = Renamed(site.name).visit(ast.parse(view))
                    assert ast.dump(again) == ast.dump(program.tree), (transform, path)
                rewritten += 1
        print(f"| `{transform.__name__}` | {rewritten} | {sites:,} |")


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
