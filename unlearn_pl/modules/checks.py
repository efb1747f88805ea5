"""Refuse, before any work is done, what would train wrongly: each message names the replacement."""

import lightning.pytorch as pl
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import nn


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


def check_streams(wanted: dict[str, tuple[str, ...]], given: list[str]) -> None:
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
                    "Ask the data module for it with `streams=`, or give the objective another `stream=`."
                )
