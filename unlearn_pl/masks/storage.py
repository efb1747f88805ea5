"""Mask files: one bit per weight, and a header that identifies the model."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unlearn_pl.results.json_file import parse_json
from unlearn_pl.results.sealed_tensors import check_sealed, facts_of, open_sealed, write_sealed

FORMAT = "unlearn_pl mask 1"
_KIND = "a mask file"


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
    """Write packed masks and a digest, so that readers find either the old file or the complete new one.

    Args:
        path: destination; folders are created as needed.
        packed: name of a parameter to its packed mask, uint8 ``[ceil(n / 8)]``.
        header: the header of the file.
    """
    write_sealed(path, packed, {"format": FORMAT, "header": json.dumps(asdict(header))})


def read_mask_header(path: Path) -> MaskHeader:
    """The header of a mask file, whose header and bits are compared with its digests.

    Raises:
        ValueError: if there is no such file, it is not a mask file, or it was changed after it was written.
    """
    if not path.is_file():
        raise ValueError(f"There is no mask {str(path)!r}. `unlearn-pl attribute` writes one.")
    check_sealed(path, _KIND)
    with open_sealed(path, _KIND) as file:
        facts = facts_of(file)
        if facts.get("format") != FORMAT:
            raise ValueError(f"{str(path)!r} has the format {facts.get('format')!r}; accepted: {FORMAT!r}.")
        packed = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    try:
        header = _header(facts.get("header", ""))
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{str(path)!r} is not {_KIND}: its header cannot be read ({error}).") from error
    if mask_fingerprint(packed) != header.mask:
        raise ValueError(
            f"{str(path)!r} was changed after it was written: its bits do not match the fingerprint in its header. "
            "Make it again with `unlearn-pl attribute`."
        )
    return header


def read_mask(path: Path, name: str, shape: torch.Size) -> Tensor:
    """The mask of one parameter, bool ``[...]`` of ``shape``; :func:`read_mask_header` compares the digests.

    Raises:
        ValueError: if the file is not a mask file, or has no mask of that many bits for the parameter.
    """
    with open_sealed(path, _KIND) as file:
        packed = file.get_tensor(name)
    if packed.dtype != torch.uint8 or list(packed.shape) != [-(-shape.numel() // 8)]:
        raise ValueError(
            f"{str(path)!r} has {list(packed.shape)} values of {packed.dtype} for {name!r} of the shape "
            f"{list(shape)}; accepted is a bit for each element, packed into torch.uint8."
        )
    return unpack(packed, shape)


def _header(text: str) -> MaskHeader:
    content = parse_json(text)
    names = [item.name for item in fields(MaskHeader)]
    if not isinstance(content, dict) or content.keys() != set(names):
        raise ValueError(f"accepted is a JSON object with {', '.join(names)}")
    header = MaskHeader(**content)
    texts = isinstance(header.weights, str) and isinstance(header.mask, str)
    shapes, kept, made_by = header.parameters, header.kept, header.made_by
    if not texts or not (isinstance(shapes, dict) and isinstance(kept, dict) and isinstance(made_by, dict)):
        raise ValueError("weights and mask are texts, all others JSON objects")
    if not kept.keys() <= shapes.keys() or not all(type(count) is int for count in kept.values()):
        raise ValueError("kept is a count for some of the parameters")
    return header
