"""The points of a sweep: every combination of values, with every seed."""

import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

LONGEST = 120
"""Characters of the name of a folder."""

Grid = Mapping[str, Sequence[Any]]
"""Argument of ``fit``, such as ``model.beta``, to its values."""


@dataclass(frozen=True)
class Point:
    """A run of a sweep.

    Attributes:
        values: argument to value, without the seed.
        seed: of the weights, the order of the data and all else that is random.
        name: of its folder.
    """

    values: Mapping[str, Any]
    seed: int
    name: str

    @property
    def setting(self) -> str:
        """The name without the seed."""
        return self.name.rpartition("seed=")[0].rstrip(",") or "all"

    def arguments(self, seeded: Sequence[str]) -> list[str]:
        """Those of ``unlearn-pl fit``.

        Args:
            seeded: the arguments that take the seed.
        """
        values = dict(self.values) | dict.fromkeys(seeded, self.seed)
        return [f"--{name}={_written(value)}" for name, value in values.items()]


def parsed_grid(given: Sequence[str]) -> Grid:
    """The grid that ``--grid NAME=[VALUE, ...]`` says.

    Args:
        given: such as ``model.beta=[0.1, 1.0]``; the values are YAML.

    Raises:
        ValueError: if one is no list of values, has none, has one twice, or an argument is given twice.
    """
    grid: dict[str, list[Any]] = {}
    for text in given:
        name, equals, values = text.partition("=")
        name = name.strip().removeprefix("--")
        try:
            parsed = yaml.safe_load(values) if equals else None
        except yaml.YAMLError:
            parsed = None
        if not name or not isinstance(parsed, list) or not parsed:
            raise ValueError(f"--grid {text!r}; accepted: NAME=[VALUE, ...], such as model.beta=[0.1, 1.0].")
        if name in grid or name in ("seed_everything", "trainer.default_root_dir"):
            reason = "is given twice" if name in grid else "is set by the sweep"
            raise ValueError(f"--grid {text!r}: {name} {reason}.")
        if len({json.dumps(value, sort_keys=True) for value in parsed}) < len(parsed):
            raise ValueError(f"--grid {text!r}: a value is given twice.")
        grid[name] = parsed
    return grid


def points_of(grid: Grid, seeds: int) -> list[Point]:
    """Every combination of the values of ``grid``, each with the seeds ``0, ..., seeds - 1``, in a fixed order.

    Raises:
        ValueError: if ``seeds`` is below 1.
    """
    if seeds < 1:
        raise ValueError(f"--seeds {seeds}; accepted: 1 or more.")
    short = _short_names(list(grid))
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    return [Point(values, seed, _name(values, short, seed)) for values in combinations for seed in range(seeds)]


def _short_names(names: Sequence[str]) -> dict[str, str]:
    """The last parts of the names, as many as tell them apart."""
    short = {name: name.rsplit(".", 1)[-1] for name in names}
    return short if len(set(short.values())) == len(short) else {name: name for name in names}


def _name(values: Mapping[str, Any], short: Mapping[str, str], seed: int) -> str:
    """Of a folder: values in plain letters, with a digest where these do not say all."""
    text = ",".join(f"{short[name]}={_written(value)}" for name, value in values.items())
    plain = re.sub(r"[^\w.,=+-]", "_", text)
    if plain != text or len(plain) > LONGEST:
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        plain = f"{plain[:LONGEST]}-{digest}"
    return ",".join(filter(None, [plain, f"seed={seed}"]))


def _written(value: Any) -> str:
    """``value`` as an argument of the command line."""
    return value if isinstance(value, str) else json.dumps(value)
