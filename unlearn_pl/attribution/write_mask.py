"""Mask files from a module and its data."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_info

from unlearn_pl.attribution.base import Attribution
from unlearn_pl.attribution.measured import Measured
from unlearn_pl.attribution.measurement import Measurement, check_module, measuring_module, run_measurement
from unlearn_pl.gradients import shard_of
from unlearn_pl.masks import MaskHeader, mask_fingerprint, pack, write_mask_file
from unlearn_pl.masks.placement import gathered
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.recording import record


def write_mask(
    path: str | Path,
    attribution: Attribution,
    module: UnlearningModule,
    data: pl.LightningDataModule,
    trainer: pl.Trainer | None = None,
) -> MaskHeader:
    """Score the weights of the module's model and write a mask of the trainable ones; the model is not changed.

    The gradients are means over the optimizer steps of one epoch, each of them the gradient of the token mean over
    the step and all ranks. The mask therefore depends neither on the number of ranks nor on the size of micro-batches.
    Dropout is active, as in training; set it to 0 for reproducible gradients.

    Args:
        path: file for :class:`~unlearn_pl.masks.MaskFile`; only rank 0 writes.
        attribution: the scores, and the share of the weights to keep.
        module: module with the model and its forward; its own objectives do not matter.
        data: data module with the training streams that the attribution reads.
        trainer: where to run; one epoch on the default device, without logs, by default.

    Returns:
        The header of the file, on every rank.

    Raises:
        ValueError: if ``module`` does not compute gradients per objective, the weights cannot be scored, or the Trainer
            takes no step.
        RuntimeError: if a gradient is not finite.
    """
    check_module(module)
    written: list[MaskHeader] = []
    measured = measuring_module(module, attribution)

    def finish(parameters: Sequence[Measured], weights: str, sharded: bool) -> None:
        findings = attribution.prepare(parameters, sharded)
        marked = attribution.mark(parameters, sharded)
        packed, kept = {}, {}
        for parameter, marks in zip(parameters, marked, strict=True):
            whole = gathered(shard_of(parameter.parameter, marks))
            packed[parameter.name], kept[parameter.name] = pack(whole), int(whole.sum())
        assert measured.model is not None
        shapes = {name: list(p.shape) for name, p in measured.model.named_parameters()}
        made_by = {"attribution": record(attribution), "findings": dict(findings)}
        written.append(MaskHeader(shapes, weights, kept, mask_fingerprint(packed), made_by))
        if measured.trainer.is_global_zero:
            write_mask_file(Path(path), packed, written[0])
        _report(attribution, written[0], findings, sum(p.parameter.numel() for p in parameters))

    try:
        run_measurement(Measurement(attribution, finish), measured, trainer, data)
    finally:
        module.model = measured.model
    return written[0]


def _report(attribution: Attribution, header: MaskHeader, findings: Mapping[str, float], scored: int) -> None:
    moving = {name: kept for name, kept in header.kept.items() if kept}
    rank_zero_info(
        f"{type(attribution).__name__} keeps {sum(moving.values())} of {scored} weights trainable, in {len(moving)} of "
        f"{len(header.kept)} parameters"
    )
    for name, value in findings.items():
        rank_zero_info(f"{name}: {value:.4g}")
