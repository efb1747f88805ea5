"""Matrices of a model's layers, however they are stored, and the share of the layers that a set of them makes up."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

LEAST_SHARE = 0.75
"""Share of the weights in a model's layers below which what is done to them is not done to the model."""

UP_PROJECTIONS = ("gate_up_proj", "up_proj")
"""Names of the up projection of experts, with and without a gate."""


@dataclass(frozen=True)
class WeightMatrix:
    """A parameter that multiplies its inputs: a matrix, or a stack of the matrices of experts.

    Attributes:
        name: name in ``model.named_parameters()``.
        parameter: ``[out, in]`` (``torch.nn.Linear``), ``[in, out]`` (GPT-2's ``Conv1D``), ``[experts, out, in]`` or
            ``[experts, in, out]``.
        input_dim: the dimension of the inputs.
    """

    name: str
    parameter: nn.Parameter
    input_dim: int

    def matrices(self, values: Tensor) -> list[Tensor]:
        """Views of ``values``, which have the shape of the parameter, as matrices ``[out, in]``: one per expert."""
        with_inputs_last = values.movedim(self.input_dim, -1)
        return list(with_inputs_last.unbind()) if values.dim() == 3 else [with_inputs_last]


def weight_matrices(model: nn.Module) -> dict[str, WeightMatrix]:
    """Name to matrix of all linear layers and stacks of experts; a weight that an embedding shares is not among them.

    Args:
        model: a model of transformers, or another whose layers are ``torch.nn.Linear``.
    """
    found = {}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for prefix, module in model.named_modules():
        for own, parameter in module.named_parameters(recurse=False):
            name = f"{prefix}.{own}" if prefix else own
            dim = _input_dim(module, own, parameter)
            if dim is not None and names.get(id(parameter)) == name:
                found[name] = WeightMatrix(name, parameter, dim)
    return found


def layer_weights(model: nn.Module) -> dict[str, int]:
    """Name to number of weights of all parameters of two or more dimensions, except embeddings and the output head."""
    outside = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    outside |= {id(parameter) for parameter in head_parameters(model)}
    named = model.named_parameters()
    return {name: p.numel() for name, p in named if p.dim() > 1 and id(p) not in outside}


def head_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters of the output head; none if the model does not name it."""
    try:
        head = model.get_output_embeddings()  # type: ignore[operator]
    except (AttributeError, NotImplementedError):
        return []
    return list(head.parameters()) if isinstance(head, nn.Module) else []


def check_share(what: str, model: nn.Module, reached: Collection[str], among: Collection[str] | None = None) -> None:
    """Check that ``reached`` makes up most of the weights in the layers of ``model``; log the share if it is not all.

    Args:
        what: beginning of the message, such as ``IntegerRounding rounds``.
        model: the model.
        reached: names of parameters.
        among: names of the parameters that count; None for all.

    Raises:
        ValueError: if it is less than :data:`LEAST_SHARE`; naming the share and parameters that are not reached.
    """
    weights = layer_weights(model)
    if among is not None:
        weights = {name: weights[name] for name in weights.keys() & set(among)}
    missed = sorted(weights.keys() - set(reached), key=lambda name: (-weights[name], name))
    report_share(what, model, 1 - sum(weights[name] for name in missed) / max(1, sum(weights.values())), missed)


def report_share(what: str, model: nn.Module, share: float, missed: Collection[str], remedy: str = "") -> None:
    """Log ``share``, unless it is 1.

    Args:
        what: beginning of the message.
        model: the model.
        share: share of the weights in its layers that are reached.
        missed: names of the others, the largest first.
        remedy: end of the message.

    Raises:
        ValueError: if it is less than :data:`LEAST_SHARE`.
    """
    if not missed:
        return
    others = ", ".join(list(missed)[:3]) + (f" and {len(missed) - 3} more" if len(missed) > 3 else "")
    found = f"{what} {share:.1%} of the weights in the layers of {type(model).__name__}, without {others}."
    if share < LEAST_SHARE:
        raise ValueError(f"{found} Accepted are models of which it reaches {LEAST_SHARE:.0%} or more.{remedy}")
    rank_zero_info(found)


def is_routed(module: nn.Module) -> bool:
    """Whether ``module`` is a stack of experts in the common form of transformers, called with tokens and routes."""
    # Not by has_gate, which transformers 5.0 does not have yet.
    has_up = any(hasattr(module, name) for name in UP_PROJECTIONS)
    return has_up and all(hasattr(module, name) for name in ("is_transposed", "has_bias", "down_proj"))


def _input_dim(module: nn.Module, name: str, parameter: nn.Parameter) -> int | None:
    """The dimension of the inputs; None if the parameter is no matrix of a layer, or its layout is unknown."""
    if isinstance(module, nn.Linear):
        return 1 if name == "weight" and parameter.dim() == 2 else None
    if _is_conv1d(module):
        return 0 if name == "weight" else None
    if parameter.dim() != 3 or parameter.shape[0] != getattr(module, "num_experts", None):
        return None
    return 1 if _is_transposed(module) else 2


def _is_conv1d(module: nn.Module) -> bool:
    """Whether it is the linear layer of GPT-2, which is called a convolution and stored as ``[in, out]``."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def _is_transposed(experts: nn.Module) -> bool:
    """Whether the matrices of ``experts`` are stored as ``[in, out]``."""
    if isinstance(found := getattr(experts, "is_transposed", None), bool):
        return found
    votes = list(_votes(experts))
    return bool(votes) and all(votes)


def _votes(experts: nn.Module) -> Iterator[bool]:
    """What the shape of each stack says; nothing where it is square."""
    hidden = getattr(experts, "input_size", getattr(experts, "hidden_size", getattr(experts, "hidden_dim", None)))
    for name, parameter in experts.named_parameters(recurse=False):
        if parameter.dim() == 3 and parameter.shape[1] != parameter.shape[2]:
            into_hidden = "down" in name or name == "w2"
            yield (parameter.shape[2] if into_hidden else parameter.shape[1]) == hidden
