"""Known vulnerabilities of what is installed, and of the lowest versions that are supported: ``python .ci/audit.py``.

Needs pip-audit, and a network with its database of advisories. Further arguments go to pip-audit, such as
``--vulnerability-service osv`` or ``--ignore-vuln ID``. Exit status 1: there are advisories. 2: something could not be
checked, so that nothing is known.
"""

import json
import runpy
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from importlib.metadata import distributions
from pathlib import Path

HERE = Path(__file__).parent
PROBE = "requests==2.19.0"
"""Has an advisory of 2018 (CVE-2018-18074): a database that does not know it is none."""
ASIDE = {"torch"}
"""Not audited at its lowest version: the newest ones are for those who can use them."""
OWN = "unlearn-pl"

Report = list[dict]
"""What pip-audit says of each package: ``name``, ``version`` and ``vulns``, or ``skip_reason``."""


class NotCheckedError(Exception):
    """Says what could not be checked, and why."""


def main(ask: Callable[[Sequence[str]], Report]) -> int:
    """Audit both lists, print what was found, and return the exit status.

    Args:
        ask: gives the report on pinned requirements.
    """
    try:
        if not any(package.get("vulns") for package in ask([PROBE])):
            raise NotCheckedError(
                f"the database does not know the advisory on {PROBE}: it cannot be reached, or a mirror answers "
                "without advisories"
            )
        return max(reported(name, ask(pins)) for name, pins in (("installed", installed()), ("lowest", lowest())))
    except NotCheckedError as error:
        print(f"error: nothing is known about vulnerabilities: {error}.", file=sys.stderr)  # noqa: T201
        return 2


def reported(name: str, packages: Report) -> int:
    """Print what was found, and return the exit status.

    Args:
        name: what to call the packages.
        packages: the report on them.
    """
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if skipped:
        raise NotCheckedError(f"of the {name} versions, these could not be checked: {', '.join(skipped)}")
    found = [(package, advisory) for package in packages for advisory in package["vulns"]]
    for package, advisory in found:
        mended = ", ".join(advisory["fix_versions"]) or "no version"
        print(f"{name}: {package['name']} {package['version']}: {advisory['id']}, mended in {mended}")  # noqa: T201
    print(f"{name}: {len(packages)} packages, {len(found)} advisories")  # noqa: T201
    return 1 if found else 0


def installed() -> list[str]:
    """Pins of all installed packages but this one, without the labels of local builds such as ``+cpu``."""
    found = {(each.metadata["Name"], each.version.partition("+")[0]) for each in distributions()}
    return sorted(f"{name}=={version}" for name, version in found if name.replace("_", "-").lower() != OWN)


def lowest() -> list[str]:
    """Pins of the lower bounds in ``pyproject.toml``, :data:`ASIDE` aside."""
    script = runpy.run_path(str(HERE / "lowest_versions.py"))
    project = tomllib.loads(script["PROJECT"].read_text(encoding="utf-8"))["project"]
    return [pin for pin in script["lowest_versions"](project) if pin.partition("==")[0] not in ASIDE]


def pip_audit(pins: Sequence[str], options: Sequence[str]) -> Report:
    """The report of pip-audit.

    Args:
        pins: requirements of exact versions.
        options: further arguments.

    Raises:
        NotCheckedError: if there is none.
    """
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder) / "pinned.txt"
        pinned.write_text("\n".join(pins) + "\n", encoding="utf-8")
        how = ["--requirement", str(pinned), "--no-deps", "--disable-pip", "--format", "json"]
        command = [sys.executable, "-m", "pip_audit", *how, "--progress-spinner", "off", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        raise NotCheckedError((done.stderr.strip().splitlines() or ["pip-audit has said nothing"])[-1]) from None


if __name__ == "__main__":
    sys.exit(main(lambda pins: pip_audit(pins, sys.argv[1:])))
