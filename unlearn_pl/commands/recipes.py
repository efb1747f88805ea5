"""``unlearn-pl recipes``: the configurations that come with the library, and how ``-c`` finds one by its name."""

import itertools
import re
from argparse import ArgumentParser
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from textwrap import indent, shorten

PACKAGE = Path(__file__).parents[1]
WIDTH = 120
PAPERS = "papers"
"""Folder of the recipes of papers, each in a folder called by its number."""
_SUFFIX = ".yaml"
_NAME = re.compile(r"[\w./-]+")


def main(args: Sequence[str]) -> None:
    """Run ``unlearn-pl recipes ARGS``."""
    parser = ArgumentParser(prog="unlearn-pl recipes", description="List the recipes, or print one.")
    parser.add_argument("name", nargs="?", help="recipe to print, such as tofu/mollm")
    parser.add_argument("--paper", metavar="ARXIV", help="list the recipes of a paper, such as 2410.07163")
    given = parser.parse_args(list(args))
    if given.name is not None and given.paper is not None:
        parser.error("give the name of a recipe or --paper, not both")
    if given.paper is not None:
        print(paper_listing(given.paper))
    elif given.name is None:
        print(listing())
    else:
        print(Path(find_recipe(given.name)).read_text(encoding="utf-8"), end="")


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
            "  unlearn-pl recipes --paper 2410.07163",
        ]
    )


def paper_listing(paper: str) -> str:
    """The recipes of a paper, each with what it says of itself: the published numbers, and what differs.

    Args:
        paper: number of the paper at arXiv, such as ``2410.07163``, also as ``arXiv:2410.07163`` or an address.

    Raises:
        ValueError: if there is no recipe of the paper, naming the papers that have one.
    """
    number = re.sub(r"v\d+$", "", re.split(r"[/:]", paper.strip())[-1])
    found = {name: path for name, path in recipes().items() if name.startswith(f"{PAPERS}/{number}/")}
    if not found:
        papers = sorted({name.split("/")[1] for name in recipes() if name.startswith(f"{PAPERS}/")})
        raise ValueError(f"There is no recipe of paper {paper!r}. Papers with recipes: {', '.join(papers)}.")
    blocks = [f"unlearn-pl fit -c {name}\n{indent(comment(path), '  ')}" for name, path in found.items()]
    return "\n\n".join(blocks)


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
    return re.split(r"(?<=[.!?]) ", " ".join(comment(path).split()), maxsplit=1)[0]


def comment(path: Path) -> str:
    """The comment at the beginning of a recipe, line by line."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    return "\n".join(line.removeprefix("#").strip() for line in lines)


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
