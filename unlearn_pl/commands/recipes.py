"""``unlearn-pl recipes``: the configurations that come with the library, and how ``-c`` finds one by its name."""

import re
from argparse import ArgumentParser
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from textwrap import shorten

PACKAGE = Path(__file__).parents[1]
WIDTH = 120
_SUFFIX = ".yaml"
_NAME = re.compile(r"[\w./-]+")


def main(args: Sequence[str]) -> None:
    """Run ``unlearn-pl recipes ARGS``."""
    parser = ArgumentParser(prog="unlearn-pl recipes", description="List the recipes, or print one.")
    parser.add_argument("name", nargs="?", help="recipe to print, such as tofu/mollm")
    name = parser.parse_args(list(args)).name
    if name is None:
        print(listing())
    else:
        print(Path(find_recipe(name)).read_text(encoding="utf-8"), end="")


def listing() -> str:
    """A line per recipe, and how to use one."""
    found = recipes()
    width = max(map(len, found))
    room = WIDTH - width - 2
    lines = [f"{name:<{width}}  {shorten(description(path), room, placeholder=' ...')}" for name, path in found.items()]
    return "\n".join(
        [
            *lines,
            "",
            f"Files: {recipes_folder()}",
            "Use one by its name, or several, of which later ones take precedence:",
            "  unlearn-pl fit -c tofu/mollm --trainer.max_epochs 5",
            "  unlearn-pl fit -c base -c data/tofu_forget10 -c methods/npo -c models/llama32_1b",
            "  unlearn-pl recipes tofu/mollm > own.yaml",
        ]
    )


def recipes() -> dict[str, Path]:
    """Name of every recipe, such as ``tofu/mollm``, to its file, in the order of the names."""
    folder = recipes_folder()
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob(f"*{_SUFFIX}"))}


def recipes_folder() -> Path:
    """The folder of the recipes: in the package, or ``experiments`` beside it in a checkout."""
    installed = PACKAGE / "recipes"
    return installed if installed.is_dir() else PACKAGE.parent / "experiments"


def description(path: Path) -> str:
    """The first sentence of the comment at the beginning of a recipe."""
    words: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        words += line.removeprefix("#").split()
    return re.split(r"(?<=[.!?]) ", " ".join(words), maxsplit=1)[0]


def find_recipe(given: str) -> str:
    """The file that ``-c GIVEN`` means.

    Args:
        given: a file; or the name of a recipe, such as ``tofu/mollm``, unless there is such a file in the working
            directory. The name may have its folder and extension: ``experiments/tofu/mollm.yaml``.

    Returns:
        Path of the file; ``given`` itself if it can be no name, such as an address or a configuration in YAML.

    Raises:
        ValueError: if there is neither a file nor a recipe; naming similar recipes.
    """
    for path in (given, f"{given}{_SUFFIX}"):
        if Path(path).is_file():
            return path
    if not _NAME.fullmatch(given):
        return given
    name, known = given.removesuffix(_SUFFIX).removeprefix("experiments/"), recipes()
    if name in known:
        return str(known[name])
    similar = _similar(name, list(known))
    hint = f" Did you mean {', '.join(similar)}?" if similar else ""
    raise ValueError(
        f"There is no file {given!r} and no recipe {name!r}.{hint} `unlearn-pl recipes` lists all recipes."
    )


def _similar(name: str, known: Sequence[str]) -> list[str]:
    """Recipes whose name is nearly ``name``, and those that end like it: ``mollm`` is in several folders."""
    last = name.rpartition("/")[2]
    alike = [other for other in known if other.rpartition("/")[2] == last]
    return list(dict.fromkeys([*get_close_matches(name, known, n=3), *alike]))[:5]
