"""An audit that could not ask the database of advisories says so, and does not pass."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ADVISORY = {"id": "PYSEC-1", "fix_versions": ["2.20.0"]}


@pytest.fixture(scope="module")
def audit():
    return runpy.run_path(str(ROOT / ".ci" / "audit.py"))


def database(vulnerable=(), unknown=(), probe=True):
    """Answers as pip-audit does."""

    def ask(pins):
        report = []
        for pin in pins:
            name, _, version = pin.partition("==")
            if name in unknown:
                report.append({"name": name, "skip_reason": "Dependency not found on PyPI"})
            else:
                is_known = name in vulnerable or (probe and pin == "requests==2.19.0")
                report.append({"name": name, "version": version, "vulns": [ADVISORY] if is_known else []})
        return report

    return ask


def test_nothing_is_known(audit, capsys):
    assert audit["main"](database()) == 0
    assert "lowest: 20 packages, 0 advisories" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["lightning", "transformers"])
def test_advisories_fail(audit, capsys, name):
    assert audit["main"](database(vulnerable=[name])) == 1
    assert f"lowest: {name} " in (out := capsys.readouterr().out)
    assert "PYSEC-1, mended in 2.20.0" in out


def test_a_database_without_advisories_is_none(audit, capsys):
    assert audit["main"](database(probe=False)) == 2
    assert "error: nothing is known about vulnerabilities: the database does not know" in capsys.readouterr().err


def test_packages_that_are_not_checked(audit, capsys):
    assert audit["main"](database(unknown=["lightning"])) == 2
    assert "installed versions, these could not be checked: lightning." in capsys.readouterr().err


def test_what_pip_audit_says_instead_of_a_report(audit, monkeypatch, tmp_path):
    (tmp_path / "pip_audit.py").write_text("raise ConnectionError('no route to the database')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(audit["NotCheckedError"], match="ConnectionError: no route to the database"):
        audit["pip_audit"](["a==1"], [])


def test_what_is_audited(audit):
    pins = audit["installed"]()
    assert not [pin for pin in pins if pin.startswith("unlearn") or "+" in pin]
    assert any(pin.startswith("lightning==") for pin in pins)
    lowest = [pin.partition("==")[0] for pin in audit["lowest"]()]
    assert "lightning" in lowest
    assert not {"torch", "pip-audit"} & set(lowest)
