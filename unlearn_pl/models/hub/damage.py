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
        ValueError: naming weights that are missing, a number of layers for which there are too few, or a repository
            whose kernels transformers would run.
    """
    subfolder = options.get("subfolder", "")
    config = _config(path, subfolder, options.get("revision"))
    if not options.get("trust_remote_code"):
        _check_kernels(path, config)
    _check_layers(Path(path, subfolder), config)
    model, info = kind.from_pretrained(path, output_loading_info=True, **options)
    if missing := sorted(info["missing_keys"]):
        where = "/".join(filter(None, [path, options.get("subfolder")]))
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(
            f"The files in {where!r} lack weights of the model that its config.json describes: {missing[0]}{more}. "
            "They would be random numbers. Accepted are whole models: copy the files again, or mend config.json."
        )
    return model


def _config(path: str, subfolder: str, revision: str | None) -> Mapping[str, Any]:
    """The ``config.json`` of a folder or repository; empty if it cannot be read, which the library itself will say."""
    from transformers.utils.hub import cached_file

    try:
        file = cached_file(path, "config.json", subfolder=subfolder, revision=revision)
        return {} if file is None else read_json(file)
    except (OSError, ValueError):
        return {}


def _check_kernels(path: str, config: Mapping[str, Any]) -> None:
    """Check that attention is not computed by code of a repository that ``config.json`` names."""
    for name, value in _entries(config):
        if name.endswith("attn_implementation") and "/" in str(value):
            raise ValueError(
                f"The file config.json of {path!r} names {value!r} as its {name}: transformers would download kernels "
                "from there and run them. A file of data must not run code: remove the entry, name the kernels "
                "yourself (CausalLM(attn_implementation=...)), or set trust_remote_code=True if you trust the model."
            )


def _check_layers(folder: Path, config: Mapping[str, Any]) -> None:
    """Check that a folder has a tensor for every layer: building those that ``config.json`` claims may take forever."""
    tensors = [_tensors(file) for file in folder.glob("*.safetensors")]
    if not tensors or None in tensors:
        return  # a name on the hub, or what the library itself will refuse
    held = sum(filter(None, tensors))
    for name, value in _entries(config):
        stages = value if isinstance(value, list) else [value]
        layers = sum(stage for stage in stages if isinstance(stage, int))
        if name in _LAYERS and layers > held:
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


def _entries(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values in a configuration and those of the model's parts."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _entries(value)
        yield name, value


def _short(number: int) -> str:
    digits = str(number)
    return digits if len(digits) < 20 else f"{digits[:3]}... ({len(digits)} digits)"
