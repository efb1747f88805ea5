"""Refuse, before any work is done, what would train wrongly: each message names the replacement."""

from collections.abc import Mapping, Sequence
from typing import get_args

import lightning.pytorch as pl
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import nn
from torch.optim import Optimizer

from unlearn_pl.combiners import Combiner, RowCombiner
from unlearn_pl.functional import Rescale
from unlearn_pl.gradients import FirstOrder, GradientSource, Metric, RowStorage, Scope, WholeRows, check_adam
from unlearn_pl.modules.options import GramianKind, OnNonFinite
from unlearn_pl.objectives import Objective
from unlearn_pl.optim import DualOptim
from unlearn_pl.references import Reference


def check_trainer(trainer: pl.Trainer) -> None:
    """Refuse Trainer flags that manual optimisation with per-objective gradients cannot honour.

    Raises:
        ValueError: for gradient clipping and accumulation on the Trainer, FSDP1, DeepSpeed, tensor parallelism
            and ``16-mixed`` precision.
    """
    if trainer.gradient_clip_val is not None:
        raise ValueError(
            f"Trainer(gradient_clip_val={trainer.gradient_clip_val}) would clip before the objectives are combined. "
            f"Give it to the module instead: gradient_clip_val={trainer.gradient_clip_val}."
        )
    if trainer.accumulate_grad_batches != 1:
        raise ValueError(
            f"Trainer(accumulate_grad_batches={trainer.accumulate_grad_batches}) does not reach manual optimisation. "
            "Set batch_size (per optimizer step) and micro_batch_size (per device) on the data module, or "
            f"accumulate_grad_batches={trainer.accumulate_grad_batches} on the module."
        )
    if trainer.precision == "16-mixed":
        raise ValueError(
            "precision='16-mixed' scales the gradients, and with them the Gramian. "
            "Use precision='bf16-mixed', 'bf16-true' or '32-true'."
        )
    _check_strategy(trainer)


def _check_strategy(trainer: pl.Trainer) -> None:
    strategy = trainer.strategy
    if isinstance(strategy, FSDPStrategy):
        raise ValueError(
            "strategy='fsdp' (FSDP1) does not support a backward pass per objective. Use strategy='fsdp2' or 'ddp'."
        )
    if isinstance(strategy, DeepSpeedStrategy):
        raise ValueError(
            "DeepSpeed keeps gradients inside its engine, out of reach of per-objective gradients. "
            "Use strategy='fsdp2' or 'ddp'."
        )
    if isinstance(strategy, DDPStrategy) and strategy._ddp_kwargs.get("static_graph"):
        raise ValueError(
            "DDPStrategy(static_graph=True) expects one backward pass per step, but there is one per objective. "
            "Use DDPStrategy(static_graph=False)."
        )
    # Lightning's "auto" is tensor parallelism inside a node: every rank would see, and count, the same examples.
    if isinstance(strategy, ModelParallelStrategy) and strategy._tensor_parallel_size != 1:
        raise ValueError(
            f"tensor_parallel_size={strategy._tensor_parallel_size!r} is not supported; accepted: 1. "
            "Use strategy='fsdp2', which shards over all devices."
        )


def check_context(model: nn.Module, longest: int) -> None:
    """Refuse data that is longer than the model's context.

    Args:
        model: a Hugging Face model; models without ``max_position_embeddings`` pass.
        longest: tokens in the longest sequence of the data.

    Raises:
        ValueError: naming both lengths.
    """
    context = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    if context is not None and longest > context:
        raise ValueError(
            f"The longest sequence has {longest} tokens, but the model's context is {context}. "
            f"Set max_length to at most {context} on the data module to find the rows."
        )


def check_layers(needs: Mapping[str, frozenset[str]], model: nn.Module) -> None:
    """Refuse objectives that read the states of a layer which the model does not have.

    Args:
        needs: objective name to the fields that it reads.
        model: a Hugging Face model; models without ``num_hidden_layers`` pass.

    Raises:
        ValueError: naming the objective and the layers that there are.
    """
    layers = getattr(getattr(model, "config", None), "num_hidden_layers", None)
    for name, fields in needs.items():
        read = [int(field.rpartition(".")[2]) for field in fields if "hidden." in field]
        if layers is not None and read and max(read) > layers:
            raise ValueError(
                f"Objective {name!r} reads the hidden states of layer {max(read)}, but the model has {layers} layers. "
                f"Accepted: 0 (the embedding) to {layers}."
            )


def check_streams(wanted: Mapping[str, tuple[str, ...]], given: Sequence[str]) -> None:
    """Refuse objectives that read a stream which the data does not have.

    Args:
        wanted: objective name to the streams that it reads.
        given: streams of the data.

    Raises:
        ValueError: naming the objective, the stream and the streams that there are.
    """
    for name, streams in wanted.items():
        for stream in streams:
            if stream not in given:
                raise ValueError(
                    f"Objective {name!r} reads stream {stream!r}, but the data has {sorted(given)}. "
                    "Give the objective one of these as its `stream`; where the data module was told its `streams`, "
                    "name the missing one there."
                )


def check_objectives(objectives: Mapping[str, Objective], reference: Reference | None) -> None:
    """Refuse a module without objectives, or without the reference that they compare with.

    Raises:
        ValueError: naming the objectives.
    """
    if not objectives:
        raise ValueError("objectives is empty; at least one objective is needed.")
    needing = [name for name, o in objectives.items() if any(n.startswith("ref_") for n in o.needs)]
    if needing and reference is None:
        raise ValueError(
            f"Objectives {needing} compare with the original model, but reference is None. "
            "Accepted: FrozenReference(), CachedReference() or, with LoRA, AdapterReference()."
        )


def check_options(
    combiner: Combiner,
    gradient: GradientSource,
    on_nonfinite: OnNonFinite,
    scope: Scope,
    metric: Metric,
    rescale: Rescale | None,
    refresh_every: int,
    gramian: GramianKind,
) -> None:
    """Refuse options that are unknown, or that the combiner or each other cannot honour.

    Raises:
        ValueError: naming the option, what was given and what is accepted.
    """
    of_gramian = {"scope": scope, "metric": metric, "rescale": rescale, "gramian": gramian}
    accepted = {
        "on_nonfinite": get_args(OnNonFinite),
        "scope": get_args(Scope),
        "metric": get_args(Metric),
        "rescale": (None, *get_args(Rescale)),
        "gramian": get_args(GramianKind),
    }
    for name, value in {"on_nonfinite": on_nonfinite, **of_gramian}.items():
        if value not in accepted[name]:
            raise ValueError(f"{name} is {value!r}; accepted: {', '.join(map(str, accepted[name]))}.")
    rule = type(combiner).__name__
    if on_nonfinite == "drop" and not combiner.uses_gramian:
        raise ValueError(
            f"on_nonfinite='drop' needs a gradient per objective, which {rule} does not compute. "
            "Accepted with it: 'skip', 'raise'."
        )
    given = {**of_gramian, "refresh_every": refresh_every}
    plain = {"scope": "global", "metric": "euclidean", "rescale": None, "gramian": "exact", "refresh_every": 1}
    changed = {name: value for name, value in given.items() if value != plain[name]}
    if changed and (not combiner.uses_gramian or isinstance(combiner, RowCombiner)):
        raise ValueError(f"{changed} concern the Gramian, which {rule} does not use. Accepted with it: {plain}.")
    if scope != "global" and (refresh_every > 1 or gramian == "sketch"):
        raise ValueError(
            f"scope={scope!r} has weights per block of parameters, which a weighted sum of losses cannot have. "
            f"Accepted with refresh_every={refresh_every} and gramian={gramian!r}: scope='global'."
        )
    if gramian == "sketch" and (metric != "euclidean" or not isinstance(gradient, FirstOrder)):
        raise ValueError(
            f"gramian='sketch' keeps euclidean products of plain gradients, but metric={metric!r} and gradient is "
            f"{type(gradient).__name__}. Accepted with it: metric='euclidean', FirstOrder()."
        )


def check_row_storage(storage: RowStorage, combiner: Combiner, gradient: GradientSource, metric: Metric) -> None:
    """Refuse rows that are not whole where somebody reads them element by element.

    Raises:
        ValueError: naming the storage and who reads the rows.
    """
    if isinstance(storage, WholeRows):
        return
    readers = {
        f"combiner={type(combiner).__name__}()": isinstance(combiner, RowCombiner),
        f"gradient={type(gradient).__name__}()": not isinstance(gradient, FirstOrder),
        "metric='adam'": metric == "adam" and storage.scatters,
    }
    if found := [name for name, reads in readers.items() if reads]:
        raise ValueError(
            f"row_storage={type(storage).__name__}() keeps rows in another form than {', '.join(found)} can read. "
            "Accepted with it: row_storage=WholeRows()."
        )


def check_rows_kept(storage: RowStorage, optimizer: Optimizer, combiner: Combiner, gramian: GramianKind) -> None:
    """Refuse a storage of rows where no rows are kept.

    Raises:
        ValueError: naming the storage and why there are no rows.
    """
    if isinstance(storage, WholeRows):
        return
    weighs_losses = not combiner.uses_gramian and not isinstance(optimizer, DualOptim)
    if weighs_losses or gramian == "sketch":
        reason = f"combiner={type(combiner).__name__}()" if weighs_losses else "gramian='sketch'"
        raise ValueError(
            f"row_storage={type(storage).__name__}() would store rows, but {reason} keeps none. "
            "Accepted with it: row_storage=WholeRows()."
        )


def check_scattering(storage: RowStorage, trainer: pl.Trainer) -> None:
    """Refuse to scatter rows that are sharded already.

    Raises:
        ValueError: naming the strategy.
    """
    if storage.scatters and isinstance(trainer.strategy, ModelParallelStrategy):
        raise ValueError(
            f"row_storage={type(storage).__name__}() scatters rows over ranks, but those of strategy='fsdp2' are "
            "sharded already. Accepted with it: row_storage=WholeRows()."
        )


def check_optimizer(optimizer: Optimizer, combiner: Combiner, metric: Metric, *, without_rows: bool) -> None:
    """Refuse an optimizer that lacks what the metric or the combiner asks of it, or that asks for rows it won't get.

    Raises:
        ValueError: naming the optimizer and what is accepted.
    """
    if metric == "adam" and isinstance(optimizer, DualOptim):
        raise ValueError(
            "metric='adam' reads the second moments of one Adam, but DualOptim keeps those of two. "
            "Accepted with it: metric='euclidean'."
        )
    if metric == "adam":
        check_adam(optimizer)
    if isinstance(optimizer, DualOptim) and isinstance(combiner, RowCombiner):
        raise ValueError(
            f"DualOptim needs a gradient per role, but {type(combiner).__name__} merges them element by element. "
            "Accepted with it: any other combiner."
        )
    if isinstance(optimizer, DualOptim) and without_rows:
        raise ValueError(
            "DualOptim needs a gradient per role at every step, which refresh_every > 1 and gramian='sketch' do not "
            "compute. Accepted with it: refresh_every=1, gramian='exact'."
        )
