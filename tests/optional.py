"""Tests that need an optional package are skipped where it is not installed, without a mark on each of them."""

from importlib.util import find_spec

PACKAGES = ("peft", "diffusers", "torchjd", "nbformat", "nbclient", "gguf", "bitsandbytes", "lm_eval")
"""What the extras of ``pyproject.toml`` bring, by the name that is imported."""


def missing_package(error: BaseException | None) -> str | None:
    """The optional package whose absence has led to ``error``; None for any other error.

    Errors of the library that ask for a package are raised from the ImportError that they explain.
    """
    while error is not None:
        package = (error.name or "").split(".")[0] if isinstance(error, ImportError) else ""
        if package in PACKAGES and find_spec(package) is None:
            return package
        error = error.__cause__ or error.__context__
    return None
