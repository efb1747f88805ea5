"""Adapters that begin with factors from a file, at the same function of the model."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from unlearn_pl.models.adapters import STARTED
from unlearn_pl.models.weight_layout import weight_matrices
from unlearn_pl.recording import Recorded
from unlearn_pl.results.fingerprint import weights_fingerprint
from unlearn_pl.results.json_file import parse_json
from unlearn_pl.results.sealed_tensors import check_sealed, facts_of, open_sealed, write_sealed

if TYPE_CHECKING:
    from peft import PeftModel
    from peft.tuners.lora.layer import LoraLayer

FORMAT = "unlearn_pl adapters 1"
_KIND = "a file of adapters"
_WRITE = "`unlearn-pl attribute --rank` writes one"


@dataclass(frozen=True)
class AdapterHeader:
    """Header of a file of adapters.

    Attributes:
        weights: fingerprint of the weights of the model that it was made for.
        rank: rank of the factors.
        made_by: settings of the attribution that made it; plain data.
    """

    weights: str
    rank: int
    made_by: dict[str, object]


def write_adapter_file(path: Path, factors: Mapping[str, tuple[Tensor, Tensor]], header: AdapterHeader) -> None:
    """Write factors and a digest, so that readers find either the old file or the complete new one.

    Args:
        path: destination; folders are created as needed.
        factors: name of a weight to ``B [out, rank]`` and ``A [rank, in]``.
        header: the header of the file.
    """
    tensors = {
        f"{name}.{part}": factor for name, pair in factors.items() for part, factor in zip("BA", pair, strict=True)
    }
    tensors = {name: factor.detach().cpu().contiguous() for name, factor in tensors.items()}
    write_sealed(path, tensors, {"format": FORMAT, "header": json.dumps(asdict(header))})


def read_adapter_header(path: Path) -> AdapterHeader:
    """The header of a file of adapters, which is compared with its digest.

    Raises:
        ValueError: if there is no such file, it is no file of adapters, or it was changed after it was written.
    """
    if not path.is_file():
        raise ValueError(f"There is no file of adapters {str(path)!r}; {_WRITE}.")
    check_sealed(path, _KIND)
    with open_sealed(path, _KIND) as file:
        facts = facts_of(file)
    if facts.get("format") != FORMAT:
        raise ValueError(f"{str(path)!r} has the format {facts.get('format')!r}; accepted: {FORMAT!r}.")
    try:
        content = parse_json(facts.get("header", ""))
        if not isinstance(content, dict) or content.keys() != {item.name for item in fields(AdapterHeader)}:
            raise ValueError(f"accepted is a JSON object with {', '.join(item.name for item in fields(AdapterHeader))}")
        header = AdapterHeader(**content)
        if type(header.rank) is not int or not isinstance(header.weights, str) or not isinstance(header.made_by, dict):
            raise ValueError("weights is a text, rank an integer, made_by a JSON object")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{str(path)!r} is not {_KIND}: its header cannot be read ({error}).") from error
    return header


class AdapterFile(Recorded):
    """Adapters begin with the factors in a file, which are taken off the weights under them: ``W - s B A + s B A``.

    The model is the same function before training, but the weights under the adapters are no longer the original ones:
    ``AdapterReference`` raises ``ValueError``, and so does an export of the adapters alone.

    Args:
        path: the file, from ``unlearn-pl attribute --rank``; all ranks must see it, also when a run is resumed.
        same_weights: raise ``ValueError`` for a model whose weights are not exactly those that the file was made for.
            False to use it with the same model in another precision, or after more training.

    References:
        Cha et al., Towards Robust and Parameter-Efficient Knowledge Unlearning for LLMs (LoKU), ICLR 2025,
        arXiv 2408.06621, with a file made by ``FisherRatio``.
    """

    def __init__(self, path: str, same_weights: bool = True) -> None:
        self.path = path
        self.same_weights = same_weights

    def check(self, model: nn.Module, rank: int) -> None:
        """Check that the file was made for ``model``, before it has adapters.

        Args:
            model: the model.
            rank: that of its adapters.

        Raises:
            ValueError: if the file is missing, damaged or no file of adapters, has a lower rank, or was made for other
                weights.
        """
        header = read_adapter_header(Path(self.path))
        if rank > header.rank:
            raise ValueError(
                f"{self.path!r} has factors of rank {header.rank}, and the adapters have r={rank}; accepted: "
                f"r={header.rank} or less, or a file made with --rank {rank}."
            )
        if self.same_weights and (found := weights_fingerprint(model)) != header.weights:
            raise ValueError(
                f"{self.path!r} was made for other weights, or in another precision (fingerprint "
                f"{header.weights[:12]}, these have {found[:12]}). Make one of these weights with `unlearn-pl "
                "attribute --rank`, or accept it with same_weights=False."
            )

    @torch.no_grad()
    def start(self, adapted: "PeftModel") -> None:
        """Begin the adapters of ``adapted`` with the factors, and take their product off the weights under them.

        Raises:
            ValueError: if a layer with an adapter has no factors in the file, or they have another shape.
        """
        digest = hashlib.sha256()
        with open_sealed(Path(self.path), _KIND) as file:
            names = set(file.keys())
            for name, layer in _layers(adapted):
                if f"{name}.B" not in names:
                    raise ValueError(
                        f"{self.path!r} has no factors for {name!r}, which has an adapter; accepted: target_modules "
                        f"among its layers, such as {sorted(names)[0].removesuffix('.A')!r}."
                    )
                factors = file.get_tensor(f"{name}.B"), file.get_tensor(f"{name}.A")
                for factor in _begin(name, layer, *factors):
                    digest.update(factor.cpu().reshape(-1).view(torch.uint8).numpy().data)
        # In checkpoints, beside the adapters: with another file they would be on other weights.
        adapted.register_buffer(STARTED, torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8))
        adapted.register_load_state_dict_pre_hook(_check_start)


def _layers(adapted: "PeftModel") -> Iterator[tuple[str, "LoraLayer"]]:
    """Name of the weight in the model without adapters, and the layer that has one."""
    for name, module in adapted.get_base_model().named_modules():
        if getattr(module, "lora_A", None) or getattr(module, "lora_embedding_A", None):
            yield f"{name}.weight", cast("LoraLayer", module)


def _begin(name: str, layer: "LoraLayer", b: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    """Set the factors of one layer; what they were set to."""
    base, key = layer.get_base_layer(), "default"
    matrix = weight_matrices(base)["weight"]
    weight = matrix.parameter
    rank, scale = layer.r[key], layer.scaling[key]
    own = cast("nn.Linear", layer.lora_B[key]).weight, cast("nn.Linear", layer.lora_A[key]).weight
    given = b[:, :rank] / scale**0.5, a[:rank] / scale**0.5
    for factor, values in zip(own, given, strict=True):
        if factor.shape != values.shape:
            raise ValueError(
                f"the factor of {name!r} has the shape {list(values.shape)}; accepted for this model: "
                f"{list(factor.shape)}."
            )
        factor.copy_(values)
    # Of the factors as they are stored, so that rounding them does not change the function.
    product = scale * (own[0].double() @ own[1].double())
    (view,) = matrix.matrices(weight.data)
    view.copy_(view.double() - product)
    return own[0].data, own[1].data


def _check_start(module: nn.Module, state: Mapping[str, Tensor], prefix: str, *_: object) -> None:
    """Compare where the adapters of a checkpoint began with where these did."""
    saved, own = state.get(prefix + STARTED), module.get_buffer(STARTED)
    if saved is not None and not torch.equal(saved.cpu(), own.cpu()):
        raise ValueError(
            "The adapters of the checkpoint began with the factors of another file, or with another r or alpha: "
            "they belong on other weights. Accepted: the file that the run was started with."
        )
