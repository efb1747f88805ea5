"""Folders with the weights of an adapter alone, as ``save_pretrained(merge_lora=False)`` writes them."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn_pl.models.merging import PROMPT_LEARNING, merge_adapter
from unlearn_pl.results.json_file import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LoadBase = Callable[[str, str | None], "PreTrainedModel"]
"""(Name of the base model, its revision) to that model; the base may be an adapter folder in its turn."""

_TOKENIZER_FILES = ("tokenizer_config.json", "tokenizer.json", "tokenizer.model")


def adapter_config(path: str, revision: str | None = None) -> dict[str, object] | None:
    """The contents of ``adapter_config.json`` in a folder or repository; None if there is no such file.

    Raises:
        ValueError: if it is not a JSON object, names the base model by anything but text, or names a module that peft
            would import.
    """
    from transformers.utils import find_adapter_config_file

    file = find_adapter_config_file(path, revision=revision)
    return None if file is None else _read(Path(file))


def tokenizer_location(path: str, revision: str | None = None) -> tuple[str, str | None]:
    """The folder or repository with the tokenizer of ``path``, and its revision.

    This is the base model's if ``path`` is a folder with an adapter and without a tokenizer.
    """
    return _own_or_base(path, revision, _TOKENIZER_FILES)


def config_location(path: str, revision: str | None = None) -> tuple[str, str | None]:
    """The folder or repository with the configuration of the model at ``path``, and its revision.

    This is the base model's if ``path`` is a folder with an adapter alone.
    """
    return _own_or_base(path, revision, ("config.json",))


def _own_or_base(path: str, revision: str | None, files: Sequence[str]) -> tuple[str, str | None]:
    """``path``, or the base model of an adapter there that has none of the files."""
    folder = Path(path)
    if not (folder / "adapter_config.json").is_file() or any((folder / name).is_file() for name in files):
        return path, revision
    config = _read(folder / "adapter_config.json")
    base = str(config.get("base_model_name_or_path") or "")
    if not base or Path(base).resolve() == folder.resolve():
        return path, revision
    own = config.get("revision")
    return _own_or_base(base, None if own is None else str(own), files)


def _read(file: Path) -> dict[str, object]:
    config = read_json(file)
    for name in ("base_model_name_or_path", "revision"):
        if (value := config.get(name)) is not None and not (isinstance(value, str) and value.isprintable()):
            raise ValueError(f"{str(file)!r} has {value!r} as its {name}; accepted is text without control characters.")
    if config.get("megatron_config"):  # peft imports what stands beside it as megatron_core
        module = str(config.get("megatron_core", "megatron.core"))
        raise ValueError(
            f"{str(file)!r} has a megatron_config, with which peft would import the module {module!r}: a file of data "
            "must not run code. Accepted are adapters of plain transformers models: remove megatron_config."
        )
    return config


def load_merged(
    path: str, config: dict[str, object], load_base: LoadBase, revision: str | None = None
) -> "PreTrainedModel":
    """The model that an adapter makes of its base model, as a plain model.

    Args:
        path: folder or repository with the adapter.
        config: its ``adapter_config.json``.
        load_base: loads the base model.
        revision: revision of the repository ``path``.

    Raises:
        ValueError: if peft is not installed, the base model is missing, or the adapter does not fit it; the message
            names ``path``.
    """
    if config.get("peft_type") in PROMPT_LEARNING:
        raise ValueError(
            f"{path!r} holds an adapter of the kind {config['peft_type']}, which lengthens prompts and cannot be "
            "merged into its base model; accepted are adapters of weights, such as LoRA."
        )
    with _base_location(path, config) as (base, base_revision):
        try:
            model = load_base(base, base_revision)
        except (OSError, RecursionError) as error:
            raise ValueError(
                f"{path!r} holds an adapter, and its base model {base!r} cannot be loaded. Put it there, or "
                "write its location as base_model_name_or_path into the folder's adapter_config.json. "
                f"({error})"
            ) from error
    merged = merge_adapter(model, path, revision)
    # An adapter trained next is saved with this name as its base; that of the base alone would give another model.
    merged.name_or_path = merged.config.name_or_path = path
    return merged


@contextmanager
def _base_location(path: str, config: dict[str, object]) -> Iterator[tuple[str, str | None]]:
    """Name and revision of the base model; a folder with a whole model besides the adapter is its own base."""
    folder = Path(path)
    if (folder / "config.json").is_file():
        with tempfile.TemporaryDirectory() as whole:
            for file in folder.iterdir():
                if not file.name.startswith("adapter_"):
                    Path(whole, file.name).symlink_to(file.resolve())
            yield whole, None
        return
    base, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not base or (folder.is_dir() and Path(str(base)).resolve() == folder.resolve()):
        raise ValueError(
            f"{path!r} holds an adapter whose adapter_config.json names {base!r} as its base model; accepted: the name "
            "or folder of the model that the adapter was trained on."
        )
    yield str(base), None if revision is None else str(revision)
