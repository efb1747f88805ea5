"""Merging of adapters into their base model."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

PROMPT_LEARNING = frozenset({"PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CARTRIDGE"})
"""Kinds of adapters that lengthen prompts or caches, and change no weight."""

Base = TypeVar("Base", bound=nn.Module)

_UNFIT = (AttributeError, KeyError, NotImplementedError, OSError, RuntimeError, SafetensorError, TypeError, ValueError)
"""What peft raises for adapters that are damaged, or of another model."""

PREFIX, WRAPPERS = "base_model.model.", (".token_adapter", ".base_layer", ".original_module")


def check_mergeable(model: "PeftModel") -> None:
    """Check that the active adapter changes weights.

    Raises:
        ValueError: if it lengthens prompts instead; naming its kind.
    """
    kind = str(model.peft_config[model.active_adapter].peft_type).removeprefix("PeftType.")
    if kind in PROMPT_LEARNING:
        raise ValueError(
            f"an adapter of the kind {kind} lengthens prompts and cannot be merged into the model; accepted: "
            "merge_lora=False, which writes it alone, or an adapter of weights, such as LoRA"
        )


def base_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the base model by its own names, among those of a model with adapters: ``[...]`` by name.

    Args:
        weights: state of a peft model.
    """
    found = {}
    for name, weight in weights.items():
        plain = name.removeprefix(PREFIX)
        for wrapper in WRAPPERS:
            plain = plain.replace(wrapper, "")
        if plain not in found or any(wrapper in name for wrapper in WRAPPERS):
            found[plain] = weight
    return found


def merge_adapter(base: Base, path: str, revision: str | None = None) -> Base:
    """``base`` with the adapter in a folder or repository merged into its weights, as a plain model.

    Args:
        base: the model that the adapter was trained on; it is changed in place.
        path: folder or repository with the adapter.
        revision: revision of the repository.

    Raises:
        ValueError: if peft is not installed, or the adapter does not fit; the message names ``path``.
    """
    try:
        from peft import PeftModel
    except ImportError as error:
        raise ValueError(f"{path!r} holds an adapter, which needs peft: pip install 'unlearn_pl[lora]'") from error
    try:
        # Adapters are drawn before their weights are read. peft warns of tied heads, which _untie takes care of.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Model (has|with) `tie_word_embeddings=True`")
            adapted = PeftModel.from_pretrained(
                cast("PreTrainedModel", base), path, is_trainable=False, revision=revision
            )
            _check_weights(adapted, path, revision)
            _untie(adapted)
            merged = adapted.merge_and_unload(safe_merge=True)
    except _UNFIT as error:
        raise ValueError(
            f"the adapter in {path!r} cannot be merged into its base model {getattr(base, 'name_or_path', '')!r}; "
            f"accepted: LoRA weights (or others that peft merges) trained on this base model. ({error})"
        ) from error
    return cast(Base, merged.requires_grad_(True))


def _check_weights(adapted: "PeftModel", path: str, revision: str | None) -> None:
    """Check that weights of the file and of the model have the same names, of which peft only warns."""
    found = adapted.load_adapter(path, adapted.active_adapter, is_trainable=False, revision=revision)
    missing, unused = list(found.missing_keys), list(found.unexpected_keys)
    if missing or unused:
        raise ValueError(f"weights missing in the file: {missing[:3]}; weights without a layer: {unused[:3]}")


def _untie(adapted: "PeftModel") -> None:
    """Give the output head weights of its own if an adapter changes it, or the embedding, alone."""
    model = cast("PreTrainedModel", adapted.get_base_model())
    if not hasattr(model, "get_input_embeddings"):  # a network of images
        return
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
