"""Check that an exported model reloads to the outputs of the model that was trained."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from transformers import PreTrainedModel

from unlearn_pl.models import CausalLM, ModelSpec, evaluation_mode
from unlearn_pl.types import Batch, Need

TOKENS = 16
"""Length of the sequence that both language models read."""
EXAMPLES = 4
"""Number of examples that both models of another kind read."""


@dataclass(frozen=True)
class Reload:
    """The outcome of the check.

    Attributes:
        agrees: whether the outputs are the same up to rounding; None if the folder could not be loaded.
        sentence: what was found, for people.
    """

    agrees: bool | None
    sentence: str


@dataclass(frozen=True)
class Probe:
    """What is compared.

    Attributes:
        field: name of the output.
        output: a model's output on the same inputs, fp32, on the CPU; every rank of a sharded model must call it.
        load: the model in a folder, with weights of a dtype.
    """

    field: str
    output: Callable[[nn.Module], Tensor]
    load: Callable[[Path, torch.dtype], nn.Module]


def text_probe(model: nn.Module, spec: ModelSpec, ids: Tensor) -> Probe:
    """The logits ``[T, V]`` of one sequence.

    Args:
        model: a causal language model of transformers.
        spec: its specification.
        ids: ``[T]`` token ids.
    """

    def logits(model: nn.Module) -> Tensor:
        output: Tensor = model(input_ids=ids[None].to(_device(model))).logits
        return output[0]

    return Probe("logits", logits, lambda folder, dtype: _language_model(folder, model, spec, dtype))


def batch_probe(spec: ModelSpec, batch: Batch) -> Probe:
    """The output on one batch that ``spec`` compares.

    Args:
        spec: a specification with ``compared``.
        batch: a micro-batch on the CPU.
    """
    field = spec.compared
    assert field is not None

    def output(model: nn.Module) -> Tensor:
        moved = {
            name: value.to(_device(model)) if isinstance(value, Tensor) else value for name, value in batch.items()
        }
        value: Tensor = getattr(spec.forward(model, moved, frozenset({Need(field)})), field)
        return value

    return Probe(field, output, lambda folder, dtype: spec.exported(str(folder)).build(dtype))


@torch.no_grad()
def output_of(probe: Probe, model: nn.Module) -> Tensor:
    """The output of ``model`` in evaluation mode, fp32, on the CPU."""
    with evaluation_mode(model), torch.compiler.set_stance("force_eager"):
        return probe.output(model).float().cpu()


def check_reload(directory: Path, expected: Tensor, probe: Probe, dtype: torch.dtype) -> Reload:
    """Load the folder on the CPU, and compare.

    Args:
        directory: the exported folder.
        expected: output of the trained model, see :func:`output_of`.
        probe: what is compared.
        dtype: dtype of the trained weights.
    """
    try:
        with isolate_rng():
            again = probe.load(directory, dtype if dtype.is_floating_point else torch.float32)
            found = output_of(probe, again)
    except Exception as error:  # whatever keeps a user from loading the folder is what is to be told
        reason = " ".join(str(error).split())
        return Reload(None, f"could not be loaded to check its {probe.field} ({type(error).__name__}: {reason})")
    if found.shape != expected.shape:
        shapes = f"{list(found.shape)}; the trained model's are {list(expected.shape)}"
        return Reload(False, f"has {probe.field} of the shape {shapes}")
    difference, largest = float((found - expected).abs().max()), float(expected.abs().max())
    figures = f"largest difference {difference:.2g}, largest value {largest:.2g}"
    # A GPU and the CPU round differently; what is lost or mixed up changes outputs by their own size.
    coarse = torch.finfo(dtype if dtype.is_floating_point else torch.bfloat16).eps  # packed 4-bit weights are integers
    if difference <= max(1e-3, 16 * coarse) * max(largest, 1e-6):
        return Reload(True, f"reloads to the {probe.field} of the trained model ({figures})")
    return Reload(False, f"does NOT reload to the {probe.field} of the trained model ({figures})")


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _language_model(directory: Path, model: nn.Module, spec: ModelSpec, dtype: torch.dtype) -> nn.Module:
    """The model in the folder, as users load it; by its own class if transformers does not have it."""
    # FSDP2 puts a class of its own in front of the model's.
    own = next(cls for cls in type(model).__mro__ if not cls.__module__.startswith("torch."))
    if issubclass(own, PreTrainedModel) and not own.__module__.startswith("transformers."):
        return own.from_pretrained(directory, dtype=dtype, use_safetensors=True)
    kernels = spec.attn_implementation if isinstance(spec, CausalLM) else None
    code = isinstance(spec, CausalLM) and spec.trust_remote_code
    return CausalLM(str(directory), attn_implementation=kernels, trust_remote_code=code).build(dtype)
