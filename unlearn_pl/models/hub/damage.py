"""Files of a model that are damaged or incomplete: what other libraries say of them, or pass over."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from unlearn_pl.results.json_file import read_json

_LAYERS = {
    *("num_hidden_layers", "num_layers", "n_layer", "n_layers", "num_blocks", "depth", "depths", "layers_per_block"),
    *("encoder_layers", "decoder_layers", "num_encoder_layers", "num_decoder_layers"),
}
"""What configurations of transformers and diffusers call the number of layers, or those of all stages."""
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
        ValueError: naming weights that are missing, or a number of layers for which there are too few.
    """
    _check_layers(Path(path, options.get("subfolder", "")))
    model, info = kind.from_pretrained(path, output_loading_info=True, **options)
    if missing := sorted(info["missing_keys"]):
        where = "/".join(filter(None, [path, options.get("subfolder")]))
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(
            f"The files in {where!r} lack weights of the model that its config.json describes: {missing[0]}{more}. "
            "They would be random numbers. Accepted are whole models: copy the files again, or mend config.json."
        )
    return model


def _check_layers(folder: Path) -> None:
    """Check that a folder has a tensor for every layer: building those that ``config.json`` claims may take forever."""
    tensors = [_tensors(file) for file in folder.glob("*.safetensors")]
    if not tensors or None in tensors:
        return  # a name on the hub, or what the library itself will refuse
    try:
        claimed = list(_layers(read_json(folder / "config.json")))
    except (OSError, ValueError):
        return
    held = sum(filter(None, tensors))
    for name, layers in claimed:
        if layers > held:
            raise ValueError(
                f"The file config.json in {str(folder)!r} claims {_short(layers)} layers ({name}), but the weights "
                f"there are {held} tensors. Accepted are whole models: copy the files again, or mend config.json."
            )


def _tensors(file: Path) -> int | None:
    try:
        with safe_open(file, framework="pt") as opened:
            return len(opened.keys())
    except (OSError, SafetensorError):
        return None


def _layers(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Names and numbers of layers in a configuration and those of the model's parts."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _layers(value)
        elif name in _LAYERS:
            stages = value if isinstance(value, list) else [value]
            yield name, sum(stage for stage in stages if isinstance(stage, int))


def _short(number: int) -> str:
    digits = str(number)
    return digits if len(digits) < 20 else f"{digits[:3]}... ({len(digits)} digits)"
