"""Files of a model that are damaged or incomplete: what other libraries say of them, or pass over."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from unlearn_pl.models.hub.configuration import check_configuration

_NOT_OF_FILES = (ImportError, MemoryError, torch.OutOfMemoryError)


def is_of_files(error: Exception) -> bool:
    """Whether an error may be of a model's files, and not of the machine or of what is installed on it.

    Parsers raise errors of many types for damaged files: of JSON, of safetensors, of attributes, of shapes.

    Args:
        error: raised while a model was loaded, by transformers or a library below it.
    """
    return not isinstance(error, _NOT_OF_FILES)


def reason_of(error: Exception) -> str:
    """The first line of an error, with its type where that alone says what kind it is."""
    first = str(error).strip().partition("\n")[0]
    return first if type(error) in (OSError, ValueError) else f"{type(error).__name__}: {first}"


@contextmanager
def reading(path: str, what: str) -> Iterator[None]:
    """Within the context, what is wrong with files is a ``ValueError`` that names them.

    Args:
        path: a folder.
        what: it should hold, such as "image classifier of transformers".

    Raises:
        ValueError: for damaged or missing files.
    """
    try:
        yield
    except Exception as error:
        if not is_of_files(error):
            raise
        raise ValueError(f"The folder {path!r} holds no {what} that can be loaded: {reason_of(error)}") from error


def load_whole(kind: Any, path: str, **options: Any) -> Any:
    """A model of transformers or diffusers, none of whose weights is missing; they draw those at random, and warn.

    Args:
        kind: a class with ``from_pretrained``.
        path: folder or name of the model.
        options: of ``from_pretrained``.

    Raises:
        ValueError: naming weights that are missing, a number of layers for which there are too few, or a repository
            whose kernels transformers would run.
    """
    subfolder, trusted = options.get("subfolder", ""), bool(options.get("trust_remote_code"))
    check_configuration(path, subfolder, options.get("revision"), trusted)
    model, info = kind.from_pretrained(path, output_loading_info=True, **options)
    if missing := sorted(info["missing_keys"]):
        where = "/".join(filter(None, [path, subfolder]))
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(
            f"The files in {where!r} lack weights of the model that its config.json describes: {missing[0]}{more}. "
            "They would be random numbers. Accepted are whole models: copy the files again, or mend config.json."
        )
    return model
