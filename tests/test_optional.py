"""What is skipped for want of a package, and what is not."""

import sys

import pytest

from tests.optional import missing_package


def imported(package):
    try:
        __import__(package)
    except ImportError as error:
        raise ValueError(f"This needs {package}.") from error


def error_of(package):
    with pytest.raises(ValueError, match="This needs") as raised:
        imported(package)
    return raised.value


def test_a_package_of_an_extra_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    assert missing_package(error_of("peft")) == "peft"


def test_other_errors_are_no_reason_to_skip(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.invented", None)
    assert missing_package(error_of("torch.invented")) is None
    assert missing_package(ValueError("peft")) is None
    assert missing_package(ImportError("a name is missing", name="json")) is None
