"""Tuned lenses: what the states of inner layers say about the next token, in a file."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor

from unlearn_pl.models.layers.readout import Readout
from unlearn_pl.results.json_file import parse_json
from unlearn_pl.results.sealed_tensors import check_sealed, facts_of, open_sealed, write_sealed

FORMAT = "unlearn_pl lens 1"
_KIND = "a file of lenses"


@dataclass(frozen=True)
class Lens:
    """Logits of the states of inner layers: the model's own readout after one affine map per layer.

    Attributes:
        maps: number of a layer to the matrix ``A [D, D]`` and the vector ``b [D]`` of its map ``h + A h + b``.
        readout: norm and head of the model that the maps were trained for.
    """

    maps: Mapping[int, tuple[Tensor, Tensor]]
    readout: Readout

    def logits(self, layer: int, states: Tensor) -> Tensor:
        """What the states after a layer say about the next token.

        Args:
            layer: one of ``maps``; 8 is the output of the 8th layer.
            states: ``[..., D]``.

        Returns:
            ``[..., V]`` in the dtype of the states.
        """
        matrix, vector = (part.to(states) for part in self.maps[layer])
        return self.readout.logits(states + states @ matrix.T + vector)

    def on(self, device: torch.device) -> "Lens":
        """The same with its tensors on ``device``."""
        readout = self.readout
        moved = {name: getattr(readout, name).to(device) for name in ("head", "bias", "gain", "shift")}
        maps = {layer: (matrix.to(device), vector.to(device)) for layer, (matrix, vector) in self.maps.items()}
        return Lens(maps, replace(readout, **moved))


@dataclass(frozen=True)
class LensHeader:
    """Header of a file of lenses.

    Attributes:
        centered: see :class:`~unlearn_pl.models.layers.readout.Readout`.
        eps: the same.
        layers: the layers that have a map.
        weights: fingerprint of the weights of the model that they were trained for.
        made_by: how they were trained; plain data.
    """

    centered: bool
    eps: float
    layers: list[int]
    weights: str
    made_by: dict[str, object]


def write_lens(path: str | Path, lens: Lens, weights: str, made_by: Mapping[str, object]) -> None:
    """Write lenses and a digest, so that readers find either the old file or the complete new one.

    Args:
        path: destination; folders are created as needed.
        lens: the lenses.
        weights: fingerprint of the weights of the model.
        made_by: how they were trained; plain data.
    """
    readout = lens.readout
    tensors = {name: getattr(readout, name) for name in ("head", "bias", "gain", "shift")}
    for layer, (matrix, vector) in lens.maps.items():
        tensors |= {f"layers.{layer}.matrix": matrix, f"layers.{layer}.vector": vector}
    header = LensHeader(readout.centered, readout.eps, sorted(lens.maps), weights, dict(made_by))
    facts = {"format": FORMAT, "header": json.dumps(asdict(header))}
    write_sealed(path, {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, facts)


def read_lens(path: str | Path) -> Lens:
    """The lenses in a file, which is compared with its digest; on the CPU.

    Raises:
        ValueError: if there is no such file, it is no file of lenses, or it was changed after it was written.
    """
    if not Path(path).is_file():
        raise ValueError(f"There is no file of lenses {str(path)!r}; `unlearn-pl lens` writes one.")
    check_sealed(path, _KIND)
    with open_sealed(path, _KIND) as file:
        header = _header(path, facts_of(file))
        head, bias, gain, shift = (file.get_tensor(name) for name in ("head", "bias", "gain", "shift"))
        maps = {
            layer: (file.get_tensor(f"layers.{layer}.matrix"), file.get_tensor(f"layers.{layer}.vector"))
            for layer in header.layers
        }
    return Lens(maps, Readout(head, bias, gain, shift, header.centered, header.eps))


def _header(path: str | Path, facts: Mapping[str, str]) -> LensHeader:
    if facts.get("format") != FORMAT:
        raise ValueError(f"{str(path)!r} has the format {facts.get('format')!r}; accepted: {FORMAT!r}.")
    names = [item.name for item in fields(LensHeader)]
    try:
        content = parse_json(facts.get("header", ""))
        if not isinstance(content, dict) or content.keys() != set(names):
            raise ValueError(f"accepted is a JSON object with {', '.join(names)}")
        header = LensHeader(**content)
        layers = header.layers
        if not isinstance(layers, list) or not all(type(layer) is int for layer in layers):
            raise ValueError("layers are no list of integers")
        if not isinstance(header.eps, float) or not isinstance(header.centered, bool):
            raise ValueError("eps is a number, centered true or false")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{str(path)!r} is not {_KIND}: its header cannot be read ({error}).") from error
    return header
