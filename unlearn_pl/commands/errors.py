"""Errors of a user's making as one line on standard error, instead of a traceback."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unlearn_pl.commands.help.condensed import UNION, condensed
from unlearn_pl.masking import masked_message
from unlearn_pl.printable import printable

PACKAGE = Path(__file__).parents[1]
STATUS = 1
"""Exit status after such an error; errors of the parser exit with 2."""
SIGNAL_STATUS = {"SIGINT": 130, "SIGTERM": 143}
"""Exit status after a signal: 128 and its number."""
DEBUG_VARIABLE = "JSONARGPARSE_DEBUG"
"""Environment variable under which the parser raises its errors."""


@contextmanager
def errors_in_one_line(debug: bool = False) -> Iterator[None]:
    """Within the context, an error that a user can mend is a line on standard error, and exit status 1.

    These are errors that the library raises on purpose (``ValueError``), files and networks that cannot be read
    (``OSError``), packages that are missing (``ImportError``), and settings that Lightning does not support, such as a
    metric to watch that nothing logs. Errors from outside this library name their place. All other exceptions are
    mistakes of the program, and pass.

    Args:
        debug: let every exception pass, with its traceback.
    """
    if debug:
        with _variable(DEBUG_VARIABLE, "true"):
            yield
        return
    try:
        yield
    except Exception as error:
        is_mendable = isinstance(error, _mendable()) or _is_of_monitor(error)
        if not is_mendable or isinstance(error, InterruptedError):
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(STATUS)


@contextmanager
def signals_as_statuses() -> Iterator[None]:
    """Within the context, SIGINT and SIGTERM end with the statuses 130 and 143, as shells and schedulers expect.

    Lightning ends a Trainer with status 1 for SIGINT, and with 0, that of success, for SIGTERM.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(SIGNAL_STATUS["SIGINT"])
    except SystemExit as ended:
        if type(ended).__name__ == "SIGTERMException":  # of Lightning, which may not have been imported
            sys.exit(SIGNAL_STATUS["SIGTERM"])
        if isinstance(ended.__context__, KeyboardInterrupt):
            sys.exit(SIGNAL_STATUS["SIGINT"])
        raise


def one_line(error: BaseException) -> str:
    """The message of ``error`` on one line, with its type and place if it was not raised by this library.

    Args:
        error: an exception that was raised.
    """
    if str(error).startswith(UNION):
        return printable(masked_message(condensed(str(error))))
    told = " ".join([str(error) or type(error).__name__, *getattr(error, "__notes__", ())])
    message = printable(masked_message(" ".join(told.split())))
    frames = traceback.extract_tb(error.__traceback__)
    path = Path(frames[-1].filename) if frames else PACKAGE
    if path.is_relative_to(PACKAGE):
        return message
    place = "/".join(path.parts[-2:])
    return f"{message} ({type(error).__name__} in {place}, line {frames[-1].lineno}; --debug prints the traceback)"


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """Set an environment variable within the context."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _is_of_monitor(error: Exception) -> bool:
    """Whether Lightning's ``EarlyStopping`` misses the metric that it watches, for which it has no type of error."""
    if not isinstance(error, RuntimeError):
        return False
    return Path(traceback.extract_tb(error.__traceback__)[-1].filename).name == "early_stopping.py"


def _mendable() -> tuple[type[BaseException], ...]:
    """The types of such errors; those of packages that were not imported cannot have been raised."""
    found: list[type[BaseException]] = [ValueError, OSError, ImportError]
    for module, name in (
        ("lightning.fabric.utilities.exceptions", "MisconfigurationException"),
        ("httpx", "HTTPError"),  # a network that is not there, where the hub's client does not translate it
    ):
        if module in sys.modules:
            found.append(getattr(sys.modules[module], name))
    return tuple(found)
