"""The lowest version of everything that the package needs, as constraints for pip: ``python .ci/lowest_versions.py``.

What developers need (``test``, ``audit``, ``site``, ``dev``) is left out: it may be as new as it likes.
"""

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
TOOLS = {"test", "audit", "site", "dev"}
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[\w,-]+\])?>=(?P<version>[\d.]+)(,<[\d.]+)?")


def lowest_versions(project: dict) -> list[str]:
    """``name==version`` of every dependency, those of the extras included.

    Args:
        project: the table ``project`` of ``pyproject.toml``.

    Raises:
        ValueError: if a dependency has no lower bound.
    """
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *(one for name in extras if name not in TOOLS for one in extras[name])]
    return sorted(_pinned(requirement) for requirement in needed)


def _pinned(requirement: str) -> str:
    match = REQUIREMENT.fullmatch(requirement.replace(" ", ""))
    if match is None:
        raise ValueError(f"{requirement!r} must be of the form 'name>=version' or 'name>=version,<version'.")
    return f"{match['name']}=={match['version']}"


if __name__ == "__main__":
    print("\n".join(lowest_versions(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"])))  # noqa: T201
