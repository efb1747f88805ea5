"""Records of how components were constructed, so that a checkpoint can rebuild them.

A record is the ``{class_path, init_args}`` dictionary that LightningCLI reads and writes: plain data, loadable
with ``weights_only=True``. Values that plain data cannot hold are marked, and reloading names them.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any

from unlearn_pl.masking import MASKED, masked

UNRECORDABLE = "unrecordable"
"""Key that marks a live object (a lambda, a model in memory) that plain data cannot hold."""


class Recorded:
    """Base of every component: keeps the arguments of its construction for :func:`record`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = _remember_arguments(cls.__init__)  # type: ignore[method-assign]

    def recorded_arguments(self) -> dict[str, Any]:
        """The arguments that :func:`record` keeps; a subclass replaces those that a checkpoint must not hold.

        Data in memory is replaced by ``{UNRECORDABLE: description}``.
        """
        return arguments_of(self)


def _remember_arguments(init: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(init)

    @functools.wraps(init)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
        # The most derived __init__ runs first; those that it calls through super() must not overwrite the record.
        if "_arguments" not in self.__dict__:
            object.__setattr__(self, "_arguments", _bind(signature, self, args, kwargs))
        init(self, *args, **kwargs)

    return wrapper


def _bind(signature: inspect.Signature, self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    try:
        arguments = dict(signature.bind(self, *args, **kwargs).arguments)
    except TypeError:
        return {}  # the call itself is about to raise with Python's own message
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            arguments.update(arguments.pop(parameter.name, {}))
    arguments.pop(next(iter(signature.parameters)))
    return arguments


def arguments_of(component: Recorded) -> dict[str, Any]:
    """The arguments that ``component`` was constructed with, by name; live objects, not copies."""
    return dict(getattr(component, "_arguments", {}))


def record(value: Any) -> Any:
    """``value`` as plain data: ``{class_path, init_args}`` for components, classes and partials.

    Args:
        value: a component, a plain value, or a container of them.

    Returns:
        Nested dictionaries, lists and scalars. A live object becomes ``{"unrecordable": description}``. Secrets, such
        as an ``api_key``, are masked.
    """
    return masked(_plain(value))


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in value]
        case Recorded():
            return {"class_path": class_path(type(value)), "init_args": _plain(value.recorded_arguments())}
        case functools.partial() if not value.args and isinstance(value.func, type):
            return {"class_path": class_path(value.func), "init_args": _plain(value.keywords)}
        case type():
            return {"class_path": class_path(value), "init_args": {}}
        case _:
            return {UNRECORDABLE: f"a live {type(value).__name__}"}


def unrecordable(plain: Any, path: str = "") -> list[str]:
    """Names (``"model"``, ``"objectives.forget.weights"``) of the values that a record could not hold, or masks."""
    if isinstance(plain, str) and MASKED in plain:
        return [path.removeprefix(".")]
    if isinstance(plain, list):
        return [name for i, item in enumerate(plain) for name in unrecordable(item, f"{path}.{i}")]
    if not isinstance(plain, dict):
        return []
    if UNRECORDABLE in plain:
        return [path.removeprefix(".")]
    return [
        name
        for key, item in plain.items()
        for name in unrecordable(item, path if key == "init_args" else f"{path}.{key}")
    ]


def check_given_again(checkpoint: object, written_by: str, plain: Mapping[str, Any], given: Collection[str]) -> None:
    """Checks that everything is given again that a record could not hold.

    Args:
        checkpoint: path of the checkpoint, for the message.
        written_by: class whose record it holds.
        plain: the record of its arguments.
        given: names of the arguments that are given.

    Raises:
        ValueError: naming the arguments that are missing.
    """
    missing = [name for name in unrecordable(plain) if name.split(".")[0] not in given]
    if missing:
        arguments = dict.fromkeys(f"{name.split('.')[0]}=..." for name in missing)
        raise ValueError(
            f"{checkpoint} was written by a {written_by} whose {missing} were live objects or secrets, which a "
            f"checkpoint does not keep. Pass them again: load_from_checkpoint(path, {', '.join(arguments)})."
        )


def class_path(cls: type) -> str:
    """Import path of ``cls``: the public one, ``unlearn_pl.<package>.<Name>``, if the package exports this class.

    So records do not depend on the files of a package.
    """
    root, _, rest = cls.__module__.partition(".")
    package = f"{root}.{rest.partition('.')[0]}"
    exported = sys.modules.get(package) if root == "unlearn_pl" else None
    if cls.__name__ in getattr(exported, "__all__", ()) and getattr(exported, cls.__name__, None) is cls:
        return f"{package}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"
