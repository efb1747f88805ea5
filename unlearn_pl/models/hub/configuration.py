"""What the ``config.json`` of a model may not ask for: code of others, and layers without weights."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from unlearn_pl.results.json_file import read_json

_LAYERS = {
    *("num_hidden_layers", "num_layers", "n_layer", "n_layers", "num_blocks", "depth", "depths", "layers_per_block"),
    *("encoder_layers", "decoder_layers", "num_encoder_layers", "num_decoder_layers"),
}
"""What configurations of transformers and diffusers call the number of layers, or those of all stages."""


def check_configuration(path: str, subfolder: str = "", revision: str | None = None, is_trusted: bool = False) -> None:
    """Check the configuration of a model before anything is built of it; what cannot be read is left to the library.

    Args:
        path: folder or name of the model.
        subfolder: of the folder or repository, with the configuration.
        revision: of the repository.
        is_trusted: whether the model may run code of its own, as with ``trust_remote_code``.

    Raises:
        ValueError: naming a repository whose kernels transformers would run, or a number of layers for which a local
            folder has too few weights.
    """
    config = _config(path, subfolder, revision)
    if not is_trusted:
        _check_kernels(path, config)
    _check_layers(Path(path, subfolder), config)


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
                "from there and run them. A file of data must not run code: remove the entry; kernels that you trust "
                "are an argument, CausalLM(attn_implementation=...)."
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
