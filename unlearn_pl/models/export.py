"""Export of a trained model as a Hugging Face folder, from any number of ranks."""

import copy
import json
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, distributed, nn

from unlearn_pl.models.adapters import STARTED, adapter_of, changes_weights, has_adapter
from unlearn_pl.models.finite import check_finite_weights
from unlearn_pl.models.markers import end_of_turn, ending_tokens
from unlearn_pl.models.merging import base_weights, check_mergeable, merge_adapter
from unlearn_pl.models.replaced_folder import replaced_folder

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@runtime_checkable
class WritesFolder(Protocol):
    """A model with a layout of its own, such as the folders of diffusers."""

    def write_folder(self, folder: Path, weights: dict[str, Tensor]) -> None:
        """Write the model to an empty folder; ``weights`` are the whole weights on the CPU, by name."""


@runtime_checkable
class WritesAdapter(WritesFolder, Protocol):
    """One of which a part may have adapters; :meth:`write_folder` then merges them."""

    def write_adapter(self, folder: Path, weights: dict[str, Tensor]) -> None:
        """Write the adapters alone to an empty folder."""


def full_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The whole weights of ``model`` on the CPU, gathered from all ranks: name to ``[...]``.

    Every rank must call it; only rank 0 gets the weights, the others an empty dictionary. Weights that are on the
    CPU already are not copied, and tied ones are one tensor.
    """
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return _tied_again(model, cast(dict[str, Tensor], get_model_state_dict(model, options=options)))


def _tied_again(model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """``weights`` with one tensor for all names of a parameter: each name was gathered for itself."""
    of_parameter: dict[nn.Parameter, Tensor] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if name in weights:
            weights[name] = of_parameter.setdefault(parameter, weights[name])
    return weights


def save_pretrained(
    model: nn.Module,
    directory: str | Path,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    merge_lora: bool = True,
    files: Mapping[str, str] | None = None,
) -> None:
    """Write ``model`` as a folder that ``from_pretrained`` reads; every rank must call it, and rank 0 writes.

    Of a network that is not of transformers, the folder holds the weights for
    :class:`~unlearn_pl.models.ImageClassifier` or :class:`~unlearn_pl.models.TinyUNet`, as ``model.safetensors``. A
    text-to-image model of diffusers is written in its layout.

    The folder appears when it is complete, and then replaces an earlier export.

    Args:
        model: a model of transformers, also with adapters, or another; also sharded by FSDP2; it is not modified.
        directory: folder to write.
        tokenizer: saved in the same folder.
        merge_lora: merge the adapters into the weights and write a plain model; otherwise write the adapters alone.
        files: further files of the folder, name to content; see :meth:`~unlearn_pl.models.ModelSpec.export_files`.

    Raises:
        ValueError: if ``directory`` holds anything but an earlier export, or holds the base model that the adapters
            alone would need; if the adapters cannot be merged, because they lengthen prompts; if adapters are to be
            written alone whose start has changed the weights under them; if weights are not finite.
    """
    check_export_directory(directory)
    adapted = adapter_of(model) if has_adapter(model) or isinstance(model, WritesAdapter) else None
    if adapted is not None and merge_lora:
        check_mergeable(adapted)
    elif adapted is not None:
        _check_base_remains(adapted, directory)
        _check_began_at_zero(adapted)
    check_finite_weights(dict(model.named_parameters()), across_ranks=distributed.is_initialized())
    weights = full_state_dict(model)
    if not distributed.is_initialized() or distributed.get_rank() == 0:
        with replaced_folder(Path(directory).absolute()) as folder:
            _write(model, weights, folder, merge_lora)
            if tokenizer is not None:
                tokenizer.save_pretrained(folder)
                _end_with_turn(folder, tokenizer)
            for name, content in (files or {}).items():
                (folder / name).write_text(content, encoding="utf-8")
    if distributed.is_initialized():
        distributed.barrier()  # no rank reads the folder or exits before it is complete


def check_export_directory(directory: str | Path) -> None:
    """Check that an export to ``directory`` would replace nothing but an earlier export.

    Raises:
        ValueError: if it is a file, or a folder that holds anything else.
    """
    path = Path(directory)
    if not path.exists():
        return
    entries = list(path.iterdir()) if path.is_dir() else [path]
    is_export = any(entry.name in ("config.json", "adapter_config.json") for entry in entries)
    flat = is_export and all(entry.is_file() for entry in entries)
    if entries and not (path.is_dir() and (flat or _is_pipeline(entries))):
        raise ValueError(
            f"the model cannot be written to {str(directory)!r}: it exists and is not an earlier export "
            "(files only, config.json among them); name a new or an empty folder"
        )


def _is_pipeline(entries: list[Path]) -> bool:
    """Whether a folder holds an export of diffusers: its index, a card, and folders of parts."""
    parts = {"scheduler", "text_encoder", "tokenizer", "unet", "vae"}
    names = {entry.name for entry in entries}
    return "model_index.json" in names and names <= {*parts, "model_index.json", "README.md"}


def _check_base_remains(model: "PeftModel", directory: str | Path) -> None:
    base = model.peft_config[model.active_adapter].base_model_name_or_path
    if base and Path(base).is_dir() and Path(base).resolve() == Path(directory).resolve():
        raise ValueError(
            f"the adapters alone cannot be written to {str(directory)!r}: it holds the base model that they need; "
            "name another folder, or use merge_lora=True"
        )


def _check_began_at_zero(model: "PeftModel") -> None:
    if hasattr(model, STARTED):
        raise ValueError(
            "the adapters alone cannot be written: LoRA(initializer=...) has changed the weights under them, which the "
            "folder would lack; accepted: merge_lora=True"
        )


def _write(model: nn.Module, weights: dict[str, Tensor], folder: Path, merge_lora: bool) -> None:
    if isinstance(model, WritesAdapter) and not merge_lora and adapter_of(model) is not None:
        model.write_adapter(folder, weights)
        return
    if merge_lora and has_adapter(model):
        merged = _merged(model, weights)
        model, weights = merged, merged.state_dict()
        check_finite_weights(weights)  # halves may overflow in the sum
    _save(model, weights, str(folder))


def _end_with_turn(folder: Path, tokenizer: "PreTrainedTokenizerBase") -> None:
    """Let the generation of the exported model stop where its answers end: at the end of a turn."""
    from transformers import GenerationConfig

    end = end_of_turn(tokenizer)
    if end is None or not (folder / "generation_config.json").is_file():
        return
    config = GenerationConfig.from_pretrained(folder)
    own = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    if end not in own:
        config.eos_token_id = ending_tokens(config, tokenizer)
        config.save_pretrained(folder)


def _merged(model: "PeftModel", weights: dict[str, Tensor]) -> "PreTrainedModel":
    """The base model with the active adapter merged by peft, in a copy made on the CPU."""
    base = model.get_base_model()
    with torch.device("meta"):  # no memory or random numbers for weights that are assigned next
        twin = cast("PreTrainedModel", type(base)(copy.deepcopy(base.config)))
    # Merging works in place, and on a CPU the gathered weights are the model's own.
    copies = {name: weight.clone() for name, weight in base_weights(weights).items()}
    missing = twin.load_state_dict(copies, strict=False, assign=True).missing_keys
    assert not missing, f"weights to merge are missing: {missing}"
    # Tied weights were assigned separately; they are written once only if they are tied again.
    twin.tie_weights()
    with tempfile.TemporaryDirectory() as folder:
        _save(model, weights, folder, selected_adapters=[model.active_adapter])
        _forget_start(Path(folder))
        return merge_adapter(twin, folder)


def _forget_start(folder: Path) -> None:
    """Let adapters be merged as they are: peft would repeat a start that changes the weights under them."""
    for file in folder.rglob("adapter_config.json"):
        config = json.loads(file.read_text(encoding="utf-8"))
        if changes_weights(config.get("init_lora_weights")):
            file.write_text(json.dumps(config | {"init_lora_weights": True}), encoding="utf-8")


def _save(model: nn.Module, weights: dict[str, Tensor], folder: str, **options: object) -> None:
    if isinstance(model, WritesFolder):
        model.write_folder(Path(folder), weights)
        return
    if not hasattr(model, "save_pretrained"):
        _save_network(model, weights, Path(folder))
        return
    with warnings.catch_warnings():
        # peft compares the vocabulary with the base model's config.json, which adapter folders and GGUF files lack.
        warnings.filterwarnings("ignore", message="Could not find a config file in")
        warnings.filterwarnings("ignore", message="Unable to fetch remote file")  # the same without a network
        warnings.filterwarnings("ignore", message="Setting `save_embedding_layers` to `True`")
        cast("PreTrainedModel", model).save_pretrained(folder, state_dict=weights, **options)  # type: ignore[arg-type]


def _save_network(model: nn.Module, weights: dict[str, Tensor], folder: Path) -> None:
    """A network that is not of transformers: its weights, and a file that says what they are of."""
    from safetensors.torch import save_file

    own = {name: weight.clone(memory_format=torch.contiguous_format) for name, weight in weights.items()}
    save_file(own, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architectures": [type(model).__name__]}) + "\n")
