"""Fingerprints of configurations and of the weights of models."""

import hashlib
import json
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from unlearn_pl.recording import record
from unlearn_pl.results.json_file import json_safe


def config_hash(config: Mapping[str, object]) -> str:
    """SHA-256 of a configuration, independent of the order of its keys; 64 hexadecimal digits.

    Args:
        config: plain data and components, which are hashed as their :func:`~unlearn_pl.recording.record`.
    """
    text = json.dumps(json_safe(record(config)), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def weights_fingerprint(module: nn.Module, ignore: Sequence[str] = ()) -> str:
    """SHA-256 of the names, shapes and values of all parameters; 64 hexadecimal digits.

    Sharded parameters (FSDP2) are gathered one by one, so the fingerprint is the same on any number of ranks. This is
    a collective operation: every rank must call it. Weights under adapters have the names of the model without
    adapters.

    Args:
        module: the model; its buffers do not count.
        ignore: parameters whose names contain one of these texts do not count.
    """
    digest = hashlib.sha256()
    for name, parameter in sorted((_plain(name), parameter) for name, parameter in module.named_parameters()):
        if any(part in name for part in ignore):
            continue
        values = _full(parameter)
        digest.update(f"{name}{list(values.shape)}{values.dtype}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _plain(name: str) -> str:
    """The name of a parameter in the model without the adapters of peft."""
    return name.removeprefix("base_model.model.").replace(".base_model.model.", ".").replace(".base_layer.", ".")


def _full(parameter: Tensor) -> Tensor:
    # The Trainer tests in inference mode, in which a DTensor cannot be detached.
    with torch.inference_mode(mode=False):
        values = parameter.detach()
        if isinstance(values, DTensor):
            values = values.full_tensor()
        return values.cpu().clone(memory_format=torch.contiguous_format)
