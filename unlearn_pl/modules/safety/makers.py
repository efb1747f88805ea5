"""The check of what an argument is made by: a class or a function, before anything is called."""

import functools
import inspect
import types
import typing
from dataclasses import dataclass


@dataclass(frozen=True)
class MakerCheck:
    """Checks that a class or a function makes an object of one type.

    Attributes:
        argument: name of the argument, for errors.
        base: the type.
        accepted: end of every error: what is accepted.
    """

    argument: str
    base: type
    accepted: str

    def check_path(self, found: object, path: str) -> None:
        """Check what a configuration names.

        Args:
            found: what is at the import path.
            path: that path.

        Raises:
            ValueError: if it is neither a class of the type nor a function that is annotated to return one.
        """
        if not (self._fits(found) or (inspect.isfunction(found) and self._fits(_returned(found)))):
            raise ValueError(f"{self.argument} is {path!r}; {self.accepted}.")

    def check_maker(self, make: object) -> None:
        """Check what is about to be called.

        Args:
            make: a class, a partial of one, or a function of the caller's own.

        Raises:
            ValueError: for an instance, a class of another type, or a function of C code such as ``os.system``.
        """
        if isinstance(make, self.base):
            raise ValueError(f"{self.argument} is an instance of {type(make).__name__}; {self.accepted}.")
        for part in parts(make):
            builtin = isinstance(part, types.BuiltinFunctionType)
            if builtin or not callable(part) or (isinstance(part, type) and not self._fits(part)):
                raise ValueError(f"{self.argument} is {part!r}; {self.accepted}.")

    def check_made(self, made: object) -> None:
        """Check what a call has returned.

        Raises:
            ValueError: naming its type.
        """
        if not isinstance(made, self.base):
            raise ValueError(f"{self.argument} has made a {type(made).__name__}; {self.accepted}.")

    def _fits(self, found: object) -> bool:
        kinds = typing.get_args(found) or (found,)
        return all(isinstance(kind, type) and issubclass(kind, self.base) for kind in kinds)


def parts(make: object) -> list[object]:
    """What a partial calls: its function, and those among its arguments (as jsonargparse makes them)."""
    if not isinstance(make, functools.partial):
        return [make]
    return [*parts(make.func), *(part for part in make.args if callable(part))]


def _returned(function: object) -> object:
    try:
        return typing.get_type_hints(function).get("return")
    except (NameError, TypeError):
        return None
