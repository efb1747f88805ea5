"""Files of adapters from a module and its data: low-rank factors where weights matter."""

import copy
from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_info
from torch import nn

from unlearn_pl.attribution.base import Attribution
from unlearn_pl.attribution.measured import Measured
from unlearn_pl.attribution.measurement import Measurement, check_module, measuring_module, run_measurement
from unlearn_pl.functional.low_rank import weighted_low_rank
from unlearn_pl.gradients import shard_of
from unlearn_pl.masks.placement import gathered
from unlearn_pl.models import CausalLM
from unlearn_pl.models.adapter_file import AdapterHeader, write_adapter_file
from unlearn_pl.models.adapters import has_adapter
from unlearn_pl.models.weight_layout import head_parameters, weight_matrices
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.recording import record


def write_adapters(
    path: str | Path,
    attribution: Attribution,
    rank: int,
    module: UnlearningModule,
    data: pl.LightningDataModule,
    trainer: pl.Trainer | None = None,
) -> AdapterHeader:
    """Score the weights of the module's model, and write the low-rank part of each layer that the scores single out.

    Each linear layer is decomposed by :func:`~unlearn_pl.functional.low_rank.weighted_low_rank` with its scores as the
    importance. With :class:`FisherRatio`, this is the initialization of LoKU (FILA). The model is measured without the
    adapters that the module may have, and is not changed.

    Args:
        path: file for :class:`~unlearn_pl.models.AdapterFile`; only rank 0 writes.
        attribution: the scores; its absolute values count.
        rank: the largest rank of adapters that the file is for.
        module: module with the model and its forward; its own objectives do not matter.
        data: data module with the training streams that the attribution reads.
        trainer: where to run; one epoch on the default device, without logs, by default.

    Returns:
        The header of the file, on every rank.

    Raises:
        ValueError: if ``keep`` is not 1 (all scores count), a layer is too small for the rank, the model is live and
            has adapters, ``module`` computes no gradients, or the Trainer takes no step.
        RuntimeError: if a gradient is not finite.
    """
    check_module(module)
    if attribution.keep != 1:
        raise ValueError(f"keep is {attribution.keep}, which is for masks; accepted with a rank: keep=1.")
    measured = measuring_module(_without_adapters(module), attribution)
    written: list[AdapterHeader] = []

    def choose(model: nn.Module) -> list[str]:
        chosen = set(attribution.choose(model))
        names = [name for name in _layers(model, rank) if name in chosen]
        if not names:
            raise ValueError(f"include and exclude leave {type(attribution).__name__} no linear layer to decompose.")
        return names

    def finish(parameters: Sequence[Measured], weights: str, sharded: bool) -> None:
        attribution.prepare(parameters, sharded)
        factors = {}
        for parameter in parameters:
            scores = gathered(shard_of(parameter.parameter, attribution.score(parameter).abs()))
            weight = gathered(parameter.parameter.detach())
            if measured.trainer.is_global_zero:
                matrix, importance = parameter.by_output(weight), parameter.by_output(scores)
                factors[parameter.name] = weighted_low_rank(matrix, importance, rank)
        written.append(AdapterHeader(weights, rank, {"attribution": record(attribution)}))
        if measured.trainer.is_global_zero:
            write_adapter_file(Path(path), factors, written[0])
        rank_zero_info(f"{type(attribution).__name__} gives {len(parameters)} layers factors of rank {rank}.")

    run_measurement(Measurement(attribution, finish, choose), measured, trainer, data)
    return written[0]


def _without_adapters(module: UnlearningModule) -> UnlearningModule:
    """``module``, or a shallow copy whose model is built without adapters.

    Raises:
        ValueError: if the model is built already and has adapters.
    """
    if module.model is not None and has_adapter(module.model):
        raise ValueError("the model has adapters already; accepted: the model without them, or its name.")
    if not isinstance(module.spec, CausalLM) or module.spec.lora is None:
        return module
    plain = copy.copy(module)
    plain.spec = copy.copy(module.spec)
    plain.spec.lora, plain.spec.saved_parts = None, ()
    return plain


def _layers(model: nn.Module, rank: int) -> list[str]:
    """Names of the weights of linear layers, without the output head.

    Raises:
        ValueError: if one is too small for ``rank``.
    """
    head = {id(parameter) for parameter in head_parameters(model)}
    matrices = [m for m in weight_matrices(model).values() if m.parameter.dim() == 2 and id(m.parameter) not in head]
    for matrix in matrices:
        if min(matrix.parameter.shape) < rank:
            raise ValueError(
                f"rank is {rank}, but {matrix.name!r} has the shape {list(matrix.parameter.shape)}; accepted: at most "
                f"{min(matrix.parameter.shape)}."
            )
    return [matrix.name for matrix in matrices]
