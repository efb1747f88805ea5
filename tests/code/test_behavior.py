"""Transformed programs do what they did."""

import contextlib
import io
import random
import sysconfig
from pathlib import Path

import pytest

from tests.code.programs import PROGRAMS
from unlearn_pl.code import TRANSFORMS, Program


def behavior(source, calls):
    """What every call returns or raises, and everything that is printed."""
    output, seen = io.StringIO(), []
    with contextlib.redirect_stdout(output):
        world = {"__name__": "world"}
        exec(compile(source, "<world>", "exec"), world)
        for name, arguments, named in calls:
            try:
                seen.append(("returns", repr(world[name](*arguments, **named))))
            except Exception as error:
                seen.append(("raises", type(error).__name__, str(error)))
    return seen, output.getvalue()


@pytest.fixture(scope="module")
def before():
    return {name: behavior(source, calls) for name, (source, calls) in PROGRAMS.items()}


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_every_site_keeps_the_behavior(transform, before):
    changed = 0
    for name, (source, calls) in PROGRAMS.items():
        program = Program.parse(source)
        for site in transform().sites(program):
            view = transform().rewrite(program, site, "zebra")
            assert view is not None, (name, site.name, site.node.lineno)
            assert view != source
            assert behavior(view, calls) == before[name], view
            changed += len(calls)
    assert changed >= 10


def executions(choose, before, names=tuple(PROGRAMS)):
    """Run views of the programs until 500 calls were compared; one pass over the programs per seed."""
    compared = 0
    for seed in range(100):
        for name in names:
            source, calls = PROGRAMS[name]
            rng, view = random.Random(seed), source
            for transform in choose(rng):
                view = transform().apply(view, rng) or view
            if view != source:
                assert behavior(view, calls) == before[name], view
                compared += len(calls)
                if compared >= 500:
                    return compared
    return compared


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_500_executions_of_each(transform, before):
    """Up to five changes of one kind in a program."""
    usable = [name for name, (source, _) in PROGRAMS.items() if transform().sites(Program.parse(source))]
    assert executions(lambda rng: [transform] * rng.randint(1, 5), before, usable) >= 500


def test_500_executions_of_chains_of_three(before):
    assert executions(lambda rng: rng.choices(TRANSFORMS, k=3), before) >= 500


def test_the_standard_library_goes_through():
    """A sample of its modules, other ones for every transformation; all of them in `make study-code`."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    for number, transform in enumerate(TRANSFORMS):
        for path in files[number::24]:
            source = path.read_text(encoding="utf-8")
            view = transform().apply(source, random.Random(0))
            assert view is None or view != source  # what does not compile is None
