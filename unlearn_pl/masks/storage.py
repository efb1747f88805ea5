"""Mask files: one bit per weight, and a header that identifies the model."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from unlearn_pl.results.atomic_file import atomic_file

FORMAT = "unlearn_pl mask 1"


@dataclass(frozen=True)
class MaskHeader:
    """Header of a mask file.

    Attributes:
        parameters: name to shape of every parameter of the model that the mask was made for.
        weights: fingerprint of that model's weights (:func:`~unlearn_pl.results.weights_fingerprint`).
        kept: name to number of elements that may change, for the parameters that have a mask in the file.
        mask: fingerprint of the mask itself.
        made_by: settings and findings of the attribution that made it; plain data.
    """

    parameters: dict[str, list[int]]
    weights: str
    kept: dict[str, int]
    mask: str
    made_by: dict[str, object]


def pack(mask: Tensor) -> Tensor:
    """The ``n`` elements of a bool tensor ``[...]`` as bits, uint8 ``[ceil(n / 8)]`` on the CPU."""
    return torch.from_numpy(np.packbits(mask.detach().cpu().reshape(-1).numpy()))


def unpack(packed: Tensor, shape: torch.Size) -> Tensor:
    """The bool tensor ``[...]`` of ``shape`` from its :func:`packed <pack>` bits, uint8 ``[ceil(n / 8)]``."""
    bits = np.unpackbits(packed.numpy(), count=shape.numel())
    return torch.from_numpy(bits).bool().view(shape)


def mask_fingerprint(packed: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names and bits ``[ceil(n / 8)]`` of packed masks; 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name in sorted(packed):
        digest.update(f"{name} {len(packed[name])} ".encode())
        digest.update(packed[name].numpy().data)
    return digest.hexdigest()


def write_mask_file(path: Path, packed: Mapping[str, Tensor], header: MaskHeader) -> None:
    """Write packed masks, so that readers find either the old file or the complete new one.

    Args:
        path: destination; folders are created as needed.
        packed: name of a parameter to its packed mask, uint8 ``[ceil(n / 8)]``.
        header: the header of the file.
    """
    with atomic_file(path) as unfinished:
        save_file(dict(packed), unfinished, {"format": FORMAT, "header": json.dumps(asdict(header))})


def read_mask_header(path: Path) -> MaskHeader:
    """The header of a mask file.

    Raises:
        ValueError: if there is no such file, or it is not a mask file.
    """
    if not path.is_file():
        raise ValueError(f"There is no mask {str(path)!r}. `unlearn-pl attribute` writes one.")
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{str(path)!r} is not a mask file: {error}") from error
    if facts.get("format") != FORMAT:
        raise ValueError(f"{str(path)!r} has the format {facts.get('format')!r}; accepted: {FORMAT!r}.")
    return MaskHeader(**json.loads(facts["header"]))


def read_mask(path: Path, name: str, shape: torch.Size) -> Tensor:
    """The mask of one parameter, bool ``[...]`` of ``shape``."""
    with safe_open(path, framework="pt") as file:
        return unpack(file.get_tensor(name), shape)
