"""Check that an exported model reloads to the logits of the model that was trained."""

from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from transformers import PreTrainedModel

from unlearn_pl.models import CausalLM, ModelSpec, evaluation_mode

TOKENS = 16
"""Length of the sequence that both models read."""


@dataclass(frozen=True)
class Reload:
    """The outcome of the check.

    Attributes:
        agrees: whether the logits are the same up to rounding; None if the folder could not be loaded.
        sentence: what was found, for people.
    """

    agrees: bool | None
    sentence: str


@torch.no_grad()
def sample_logits(model: nn.Module, ids: Tensor) -> Tensor:
    """The logits of one sequence on the CPU, ``[T, V]`` fp32; every rank of a sharded model must call it.

    Args:
        model: a causal language model of transformers.
        ids: ``[T]`` token ids.
    """
    device = next(model.parameters()).device
    with evaluation_mode(model), torch.compiler.set_stance("force_eager"):
        logits: Tensor = model(input_ids=ids[None].to(device)).logits
    return logits[0].float().cpu()


def check_reload(directory: Path, logits: Tensor, ids: Tensor, model: nn.Module, spec: ModelSpec) -> Reload:
    """Load the folder on the CPU, and compare.

    Args:
        directory: the exported folder.
        logits: ``[T, V]`` those of the trained model, see :func:`sample_logits`.
        ids: ``[T]`` the token ids that they belong to.
        model: the trained model.
        spec: its specification.
    """
    dtype = next(model.parameters()).dtype
    try:
        with isolate_rng():
            again = _loaded(directory, model, spec, dtype if dtype.is_floating_point else torch.float32)
            found = sample_logits(again, ids)
    except Exception as error:  # whatever keeps a user from loading the folder is what is to be told
        reason = " ".join(str(error).split())
        return Reload(None, f"could not be loaded to check its logits ({type(error).__name__}: {reason})")
    if found.shape != logits.shape:
        return Reload(
            False, f"has logits of the shape {list(found.shape)}; the trained model's are {list(logits.shape)}"
        )
    difference, largest = float((found - logits).abs().max()), float(logits.abs().max())
    figures = f"largest difference {difference:.2g}, largest logit {largest:.2g}"
    # A GPU and the CPU round differently; what is lost or mixed up changes logits by their own size.
    coarse = torch.finfo(dtype if dtype.is_floating_point else torch.bfloat16).eps  # packed 4-bit weights are integers
    if difference <= max(1e-3, 16 * coarse) * max(largest, 1e-6):
        return Reload(True, f"reloads to the logits of the trained model ({figures})")
    return Reload(False, f"does NOT reload to the logits of the trained model ({figures})")


def _loaded(directory: Path, model: nn.Module, spec: ModelSpec, dtype: torch.dtype) -> nn.Module:
    """The model in the folder, as users load it; by its own class if transformers does not have it."""
    # FSDP2 puts a class of its own in front of the model's.
    own = next(cls for cls in type(model).__mro__ if not cls.__module__.startswith("torch."))
    if issubclass(own, PreTrainedModel) and not own.__module__.startswith("transformers."):
        return own.from_pretrained(directory, dtype=dtype, use_safetensors=True)
    kernels = spec.attn_implementation if isinstance(spec, CausalLM) else None
    code = isinstance(spec, CausalLM) and spec.trust_remote_code
    return CausalLM(str(directory), attn_implementation=kernels, trust_remote_code=code).build(dtype)
