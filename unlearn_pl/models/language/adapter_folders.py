"""Folders with the weights of an adapter alone, as ``save_pretrained(merge_lora=False)`` writes them."""

import json
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

LoadBase = Callable[[str, str | None], "PreTrainedModel"]
"""(Name of the base model, its revision) to that model; the base may be an adapter folder in its turn."""

_TOKENIZER_FILES = ("tokenizer_config.json", "tokenizer.json", "tokenizer.model")


def adapter_config(path: str, revision: str | None = None) -> dict[str, object] | None:
    """The contents of ``adapter_config.json`` in a folder or repository; None if there is no such file."""
    from transformers.utils import find_adapter_config_file

    file = find_adapter_config_file(path, revision=revision)
    return None if file is None else json.loads(Path(file).read_text(encoding="utf-8"))


def tokenizer_location(path: str, revision: str | None = None) -> tuple[str, str | None]:
    """The folder or repository with the tokenizer of ``path``, and its revision.

    This is the base model's if ``path`` is a folder with an adapter and without a tokenizer.
    """
    folder = Path(path)
    if not (folder / "adapter_config.json").is_file() or any((folder / name).is_file() for name in _TOKENIZER_FILES):
        return path, revision
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    base = config.get("base_model_name_or_path")
    if not base or Path(base).resolve() == folder.resolve():
        return path, revision
    return tokenizer_location(str(base), config.get("revision"))


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
    with _base_location(path, config) as (base, base_revision):
        try:
            model = load_base(base, base_revision)
        except (OSError, RecursionError) as error:
            raise ValueError(
                f"{path!r} holds an adapter, and its base model {base!r} cannot be loaded. Put it there, or "
                "write its location as base_model_name_or_path into the folder's adapter_config.json. "
                f"({error})"
            ) from error
    merged = _merge(model, path, revision)
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


def _merge(base: "PreTrainedModel", path: str, revision: str | None) -> "PreTrainedModel":
    try:
        from peft import PeftModel
    except ImportError as error:
        raise ValueError(f"{path!r} holds an adapter, which needs peft: pip install 'unlearn_pl[lora]'") from error
    try:
        # Adapters are drawn before their weights are read. peft warns of tied heads, which _untie takes care of.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Model (has|with) `tie_word_embeddings=True`")
            adapted = PeftModel.from_pretrained(base, path, is_trainable=False, revision=revision)
            _check_weights(adapted, path, revision)
            _untie(adapted)
            merged = adapted.merge_and_unload(safe_merge=True)
    except (AttributeError, KeyError, NotImplementedError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"the adapter in {path!r} cannot be merged into its base model {base.name_or_path!r}; accepted: LoRA "
            f"weights (or others that peft merges) trained on this base model. ({error})"
        ) from error
    return cast("PreTrainedModel", merged.requires_grad_(True))


def _check_weights(adapted: "PeftModel", path: str, revision: str | None) -> None:
    """Check that weights of the file and of the model have the same names, of which peft only warns."""
    found = adapted.load_adapter(path, adapted.active_adapter, is_trainable=False, revision=revision)
    missing, unused = list(found.missing_keys), list(found.unexpected_keys)
    if missing or unused:
        raise ValueError(f"weights missing in the file: {missing[:3]}; weights without a layer: {unused[:3]}")


def _untie(adapted: "PeftModel") -> None:
    """Give the output head weights of its own if an adapter changes it, or the embedding, alone."""
    model = cast("PreTrainedModel", adapted.get_base_model())
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or not (_is_adapted(embedding) or _is_adapted(head)):
        return
    original = _original(head)
    if original.weight is _original(embedding).weight:
        original.weight = nn.Parameter(cast(torch.Tensor, original.weight).detach().clone())
        model.config.tie_word_embeddings = model.config.get_text_config().tie_word_embeddings = False


def _original(module: nn.Module) -> nn.Module:
    """The layer of the base model in a layer with an adapter."""
    return cast(nn.Module, getattr(module, "base_layer", getattr(module, "original_module", module)))


def _is_adapted(module: nn.Module) -> bool:
    return _original(module) is not module
