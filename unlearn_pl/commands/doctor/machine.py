"""What is installed, which devices there are, and whether the hub is within reach."""

import os
import platform
import re
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

PACKAGES = ("torch", "lightning", "transformers", "datasets", "torchmetrics", "safetensors", "accelerate", "wandb")
SECONDS = 3.0
"""For the hub to answer."""


def versions() -> list[tuple[str, str]]:
    """Python, this library and the packages that it is built on, with their versions."""
    return [("python", platform.python_version()), *((name, _version(name)) for name in ("unlearn_pl", *PACKAGES))]


def devices() -> list[tuple[str, str]]:
    """The GPUs with their memory, and the processors of the machine."""
    import torch

    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
        found.append((f"cuda:{index}", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, {bf16}"))
    if not found:
        found.append(("cuda", "no GPU that this PyTorch can use"))
    if torch.backends.mps.is_available():
        found.append(("mps", "Apple's GPU"))
    return [*found, ("cpu", f"{os.cpu_count()} cores, {_memory():.0f} GiB")]


def extras() -> list[tuple[str, str]]:
    """Every extra of this library, with the packages of it that are missing."""
    packages: dict[str, list[str]] = defaultdict(list)
    try:
        required = requires("unlearn_pl") or []
    except PackageNotFoundError:
        return [("unknown", "this library is not installed, but read from its folder")]
    for requirement in required:
        name = re.match(r"[\w.-]+", requirement)
        if (extra := re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)) and name:
            packages[extra[1]].append(name[0])
    return [(extra, _missing(names)) for extra, names in packages.items()]


def hub(access: str) -> list[tuple[str, str]]:
    """The Hugging Face hub: whether it answers, who is logged in, and the folder of what was loaded before.

    Args:
        access: what :func:`hub_access` found.
    """
    from huggingface_hub import constants, get_token

    cache = Path(constants.HF_HUB_CACHE)
    kept = len([*cache.glob("models--*"), *cache.glob("datasets--*")])
    return [
        ("access", access),
        ("token", "there is one" if get_token() else "none: gated models and private data cannot be loaded"),
        ("cache", f"{cache}, {kept} models and data sets"),
    ]


def hub_access() -> tuple[bool, str]:
    """Whether the hub answers, and in words."""
    import urllib.error
    import urllib.request

    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False, "switched off by HF_HUB_OFFLINE"
    request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS):
            return True, f"{constants.ENDPOINT} answers"
    except urllib.error.HTTPError:  # an answer, too
        return True, f"{constants.ENDPOINT} answers"
    except (OSError, ValueError) as error:
        return False, f"{constants.ENDPOINT} does not answer ({error}): give folders instead of names"


def _missing(names: list[str]) -> str:
    missing = [name for name in names if name != "unlearn_pl" and _version(name) == "missing"]
    return f"missing: {', '.join(missing)}" if missing else "installed"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _memory() -> float:
    """GiB of the machine."""
    if not hasattr(os, "sysconf"):
        return float("nan")
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
