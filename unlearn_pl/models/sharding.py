"""Sharding a model over the ranks with FSDP2."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import nn

from unlearn_pl.models.adapters import has_adapter

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


@runtime_checkable
class ShardsItself(Protocol):
    """A model that says which of its parts are sharded, such as a network with frozen encoders beside it."""

    def sharded_layers(self) -> Sequence[nn.Module]:
        """The parts whose weights are gathered one after the other."""

    def whole_parts(self) -> Sequence[nn.Module]:
        """Frozen parts that every rank has as a whole, for they are used apart from the model's forward."""


def shard(model: nn.Module, mesh: "DeviceMesh", dtype: torch.dtype | None = None) -> nn.Module:
    """Shard each decoder layer of ``model`` and then the rest, in place.

    Args:
        model: any model with its layers in one ``nn.ModuleList``, or one that :class:`ShardsItself`; without such a
            list it is sharded as a whole.
        mesh: one-dimensional mesh of the ranks that share the weights.
        dtype: dtype of the computation; weights, gradients and their reduction keep theirs. By default the weights' own
            (or autocast's).

    Returns:
        ``model``; unchanged if it is sharded already.

    Raises:
        ValueError: if weights are quantized.
    """
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    if isinstance(model, FSDPModule):
        return model
    if not all(parameter.is_floating_point() for parameter in model.parameters()):
        raise ValueError("FSDP2 cannot shard weights in 4 bits. Use strategy='ddp', or LoRA() instead of QLoRA().")
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32 if dtype else None)
    own = model if isinstance(model, ShardsItself) else None
    whole = {parameter for part in own.whole_parts() for parameter in part.parameters()} if own else set()
    for layer in own.sharded_layers() if own else decoder_layers(model):
        fully_shard(layer, mesh=mesh, mp_policy=policy, ignored_params=whole or None)
    fully_shard(model, mesh=mesh, mp_policy=policy, ignored_params=whole or None)
    if has_adapter(model):
        register_fsdp_forward_method(model, "generate")  # peft's bypasses the root, which would gather weights
    return model


def decoder_layers(model: nn.Module) -> list[nn.Module]:
    """The modules in the ``nn.ModuleList`` of ``model`` that holds the most parameters; empty without a list."""
    lists: list[nn.Module] = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return list(max(lists, key=_num_parameters).children()) if lists else []


def _num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def reshard(model: nn.Module) -> None:
    """FSDP2 leaves the root's weights gathered after a forward without backward; the optimizer needs the shards."""
    from torch.distributed.fsdp import FSDPModule

    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
