"""The command: print what was found, and end with status 1 if a recipe lacks something."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from unlearn_pl.commands.doctor.machine import devices, extras, hub, hub_access, versions
from unlearn_pl.commands.doctor.recipe import checks
from unlearn_pl.printable import printable

Section = Sequence[tuple[str, str]]
"""Labels and what was found."""


def main(args: Sequence[str]) -> None:
    """Run ``unlearn-pl doctor ARGS``."""
    parser = ArgumentParser(
        prog="unlearn-pl doctor",
        description="Say what is installed and within reach; with a recipe, what it lacks.",
        epilog="Arguments that are not named here are those of `unlearn-pl fit`, such as --data.path DIR.",
        allow_abbrev=False,
    )
    parser.add_argument("-c", "--config", action="append", default=[], help="YAML file, or name of a recipe; several")
    parser.add_argument("--no-hub", action="store_true", help="ask no server whether the hub can be reached")
    given, passed = parser.parse_known_args(list(args))
    print(_text("Versions", versions()))
    print(_text("Devices", devices()))
    print(_text("Extras", extras()))
    has_hub, access = (True, "not asked") if given.no_hub else hub_access()
    print(_text("Hub", hub(access)))
    if given.config or passed:
        _check([*(word for name in given.config for word in ("-c", name)), *passed], has_hub)


def _check(arguments: Sequence[str], has_hub: bool) -> None:
    found = checks(arguments, has_hub)
    print(_text("Recipe", [(check.what, check.found) for check in found]))
    if missing := [check for check in found if check.is_missing]:
        print(f"{len(missing)} missing: {printable(', '.join(check.what for check in missing))}", file=sys.stderr)
        sys.exit(1)
    print("Nothing is missing, as far as can be known without running it.")


def _text(title: str, section: Section) -> str:
    width = max((len(label) for label, _ in section), default=0)
    return "\n".join([title, *(f"  {printable(label):<{width}}  {printable(found)}" for label, found in section), ""])
