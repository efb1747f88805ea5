"""Masks that prune: weights that are set to 0 once, and stay there."""

import weakref
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from unlearn_pl.functional.ranking import Scores, mark_largest, mark_rows
from unlearn_pl.masks.base import Mask
from unlearn_pl.masks.choice import chosen_names, some_of
from unlearn_pl.masks.mask_file import MaskFile
from unlearn_pl.masks.placement import gathered, placed_like
from unlearn_pl.masks.storage import mask_fingerprint, pack, read_mask, read_mask_header
from unlearn_pl.models.weight_layout import layer_weights, weight_matrices

PruneScope = Literal["global", "tensor", "row"]


class Pruned(Mask):
    """Sets some weights to 0 before training and keeps them there; all others change, survivors and other parameters.

    The zeros are exact with every optimizer: their gradient is 0, and weight decay and momentum of a weight of 0 that
    never had a gradient are 0. A checkpoint and an export hold them like any weight. A reference model that is made
    from the same specification has the weights before pruning.

    A subclass implements :meth:`survivors`.
    """

    element_wise = False  # weight decay leaves a 0 where it is, whatever its form

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}
        self._model: weakref.ref[nn.Module] | None = None
        self._fingerprint = ""

    @abstractmethod
    def survivors(self, model: nn.Module) -> Mapping[str, Tensor]:
        """Name of a pruned parameter to a bool tensor, True for the weights that are kept.

        Args:
            model: before pruning.

        Returns:
            Tensors ``[...]`` on the devices of the parameters, and sharded like them.

        Raises:
            ValueError: if the mask does not fit.
        """

    @torch.no_grad()
    def freeze(self, model: nn.Module) -> None:
        """Set the weights to 0, once per model.

        Raises:
            ValueError: if a pruned parameter does not exist or is frozen, or nothing is left.
        """
        if self._model is not None and self._model() is model:
            return
        parameters = dict(model.named_parameters())
        self._kept = dict(self.survivors(model))
        for name, kept in self._kept.items():
            _local(parameters[name]).mul_(_local(kept))
        self._model = weakref.ref(model)
        self._fingerprint = mask_fingerprint({name: pack(gathered(kept)) for name, kept in self._kept.items()})

    def elements(self, name: str, like: Tensor) -> Tensor | None:
        """The survivors ``[...]`` of the parameter ``name``; None if it is not pruned."""
        return self._kept.get(name)

    def fingerprint(self) -> str:
        """SHA-256 of the names and the survivors, once a model is pruned; of the arguments before."""
        return self._fingerprint or super().fingerprint()

    def __getstate__(self) -> dict[str, object]:
        """Without the reference to the model, which cannot be copied."""
        return {**self.__dict__, "_model": None}


class PrunedWeights(Pruned):
    """Prunes the smallest weights: exactly ``round((1 - ratio) n)`` of the ``n`` that are ranked together survive.

    Only the matrices and kernels of layers are pruned: no biases, norms, embeddings, nor the output head of a language
    model. Fine-tuning with it is the retraining of a sparse model; any method with it is unlearning on a sparse model.

    Args:
        ratio: share of the weights that become 0, in (0, 1].
        scope: weights that are ranked together: all (``global``), those of a parameter (``tensor``), or of one output
            of a matrix (``row``).
        include: regular expressions of the names of the parameters that are pruned.
        exclude: regular expressions of exceptions.

    Raises:
        ValueError: if ``ratio`` is out of range or ``scope`` unknown; before training, if an expression matches no
            parameter of a layer, a pruned parameter is frozen, or no weight survives.

    References:
        Han et al., Learning both Weights and Connections for Efficient Neural Networks, NeurIPS 2015, arXiv 1506.02626;
        Jia et al., Model Sparsity Can Simplify Machine Unlearning, NeurIPS 2023, arXiv 2304.04934 (prune first, then
        unlearn; one-shot magnitude pruning with retraining).
    """

    def __init__(
        self,
        ratio: float = 0.95,
        scope: PruneScope = "global",
        include: Sequence[str] = (".*",),
        exclude: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if not 0 < ratio <= 1:
            raise ValueError(f"ratio={ratio}; accepted: a share of the weights in (0, 1].")
        if scope not in get_args(PruneScope):
            raise ValueError(f"scope is {scope!r}; accepted: {', '.join(get_args(PruneScope))}.")
        self.ratio = ratio
        self.scope = scope
        self.include = list(include)
        self.exclude = list(exclude)

    def survivors(self, model: nn.Module) -> Mapping[str, Tensor]:
        """See :meth:`Pruned.survivors`: the weights of the largest magnitude."""
        chosen = chosen_names(layer_weights(model), self.include, self.exclude)
        parameters = {name: p for name, p in model.named_parameters() if name in chosen}
        if not parameters:
            raise ValueError(f"include={self.include} and exclude={self.exclude} leave no weights of layers to prune.")
        check_trainable(parameters)
        marked = self._rows(model, parameters) if self.scope == "row" else self._together(parameters)
        if not any(bool(gathered(kept).any()) for kept in marked.values()):
            raise ValueError(f"ratio={self.ratio} with scope={self.scope!r} leaves not a single weight.")
        return marked

    def _together(self, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
        groups = [list(parameters)] if self.scope == "global" else [[name] for name in parameters]
        sharded = any(isinstance(parameter, DTensor) for parameter in parameters.values())
        marked: dict[str, Tensor] = {}
        for names in groups:
            keep = round((1 - self.ratio) * sum(parameters[name].numel() for name in names))
            scores: list[Scores] = [partial(_magnitudes, parameters[name]) for name in names]
            for name, kept in zip(names, mark_largest(scores, keep, sharded), strict=True):
                marked[name] = _like(kept, parameters[name])
        return marked

    def _rows(self, model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
        layout, marked = weight_matrices(model), {}
        for name, parameter in parameters.items():
            if name in layout and layout[name].input_dim == 0 and isinstance(parameter, DTensor):
                raise ValueError(f"scope='row' cannot rank {name!r}, whose inputs FSDP2 splits over the ranks.")
            scores = _magnitudes(parameter)
            if name in layout:
                last = scores.movedim(layout[name].input_dim, -1)
                kept = mark_rows(last.flatten(0, -2), 1 - self.ratio).view(last.shape)
                kept = kept.movedim(-1, layout[name].input_dim).contiguous()
            else:  # a kernel [out, in, ...]
                kept = mark_rows(scores, 1 - self.ratio)
            marked[name] = _like(kept, parameter)
        return marked


class PrunedByFile(Pruned):
    """Prunes by a mask file of ``unlearn-pl attribute``: the weights that it does not mark, or those that it marks.

    Wanda's pruning: a file of ``Wanda(keep=0.5, forget_stream="retain")``. WAGLE, inverted: a file of
    ``WAGLE(keep=0.05)`` with ``inverse=True`` prunes the weights that matter most for the forget set.

    Parameters that are not in the file are left as they are.

    Args:
        path: the file; all ranks must see it.
        inverse: prune the marked weights, and not the others.
        same_weights: raise ``ValueError`` for a model whose weights are not those that the mask was made for.

    Raises:
        ValueError: before training, if the file is missing or damaged, was made for another model, or nothing is left.

    References:
        Sun et al., A Simple and Effective Pruning Approach for Large Language Models, ICLR 2024, arXiv 2306.11695
        (Wanda); Jia et al., WAGLE: Strategic Weight Attribution for Effective and Modular Unlearning in Large Language
        Models, NeurIPS 2024, arXiv 2410.17509 (the scores, by which it chooses what is trained and prunes nothing).
    """

    def __init__(self, path: str, inverse: bool = False, same_weights: bool = True) -> None:
        super().__init__()
        self.path = path
        self.inverse = inverse
        self.same_weights = same_weights

    def survivors(self, model: nn.Module) -> Mapping[str, Tensor]:
        """See :meth:`Pruned.survivors`."""
        header = read_mask_header(Path(self.path))
        MaskFile(self.path, self.same_weights).check(header, model)
        parameters = {name: p for name, p in model.named_parameters() if name in header.kept}
        check_trainable(parameters)
        left = {name: parameters[name].numel() - n if self.inverse else n for name, n in header.kept.items()}
        if not any(left.values()):
            raise ValueError(f"The mask {self.path!r} leaves not a single weight of {some_of(left)}.")
        kept = {}
        for name, parameter in parameters.items():
            marked = read_mask(Path(self.path), name, torch.Size(parameter.shape))
            kept[name] = placed_like(~marked if self.inverse else marked, parameter)
        return kept


def check_trainable(parameters: Mapping[str, nn.Parameter]) -> None:
    """Check that parameters which are to be pruned or shrunk are trained.

    Raises:
        ValueError: naming those that are frozen.
    """
    if frozen := [name for name, parameter in parameters.items() if not parameter.requires_grad]:
        raise ValueError(
            f"{some_of(frozen)} would be pruned but are frozen, as under an adapter. Accepted: a model whose layers "
            "are trained, or include and exclude for those that are."
        )


def _magnitudes(parameter: Tensor) -> Tensor:
    return _local(parameter.detach()).abs().float()


def _like(local: Tensor, parameter: Tensor) -> Tensor:
    """``local`` as a part of a tensor that is sharded like ``parameter``."""
    if not isinstance(parameter, DTensor):
        return local
    return DTensor.from_local(
        local,
        parameter.device_mesh,
        parameter.placements,
        run_check=False,
        shape=parameter.shape,
        stride=parameter.stride(),
    )


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
