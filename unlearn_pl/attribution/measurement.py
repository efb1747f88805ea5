"""Mean gradients and input norms over one ``Trainer.fit`` that does not change the weights."""

import functools
from collections.abc import Callable, Mapping, Sequence

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from unlearn_pl.attribution.base import Attribution
from unlearn_pl.attribution.input_norms import InputNorms
from unlearn_pl.attribution.measured import Measured, exact
from unlearn_pl.combiners import MinNorm
from unlearn_pl.gradients import Row, RowObserver, local
from unlearn_pl.models.weight_layout import weight_matrices
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.modules.kind_losses import losses_of
from unlearn_pl.optim import Constant
from unlearn_pl.results import weights_fingerprint

Finish = Callable[[Sequence[Measured], str, bool], None]
"""Gets the scored parameters, the fingerprint of the weights, and whether the parameters are sharded."""


class Measurement(pl.Callback, RowObserver):
    """Averages gradients over all optimizer steps and ranks, and passes them to ``finish`` at the end of training.

    Args:
        attribution: the attribution whose needs are measured.
        finish: called on every rank, at the end of training, with the scored parameters, the fingerprint of the
            weights, and whether the parameters are sharded.
        choose: names of the parameters of a model that are scored; by default those that the attribution chooses.
    """

    def __init__(
        self, attribution: Attribution, finish: Finish, choose: Callable[[nn.Module], list[str]] | None = None
    ) -> None:
        self.attribution = attribution
        self.finish = finish
        self.choose = choose or attribution.choose
        self._inputs: InputNorms | None = None
        self._sums: dict[str, dict[str, Tensor]] = {}
        self._steps = 0
        self.finished = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the scored parameters; stop at once if nothing needs to be measured."""
        model = _model(pl_module)
        self._chosen = self.choose(model)
        self._fingerprint = weights_fingerprint(model)
        self._places = {name: i for i, name in enumerate(pl_module.trained_names)}  # type: ignore[arg-type]
        self._inputs = InputNorms(model) if "inputs" in self.attribution.needs else None
        trainer.should_stop = not self.attribution.needs

    def on_rows(self, rows: Mapping[str, Row], weights: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """Add the gradients of one step."""
        self._steps += 1
        for data in self.attribution.streams:
            sums = self._sums.setdefault(data, {})
            for name in self._chosen:
                gradient = rows[data][self._places[name]]
                if gradient is None:
                    continue
                added = exact(local(gradient))
                if self.attribution.squares:
                    added = added.square()
                sums[name] = sums[name].add_(added) if name in sums else added.clone()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Pass the measurements to ``finish``."""
        norms = {} if self._inputs is None else self._inputs.norms(trainer.world_size)
        model = _model(pl_module)
        parameters = dict(model.named_parameters())
        dims = {name: matrix.input_dim for name, matrix in weight_matrices(model).items()}
        for sums in self._sums.values():
            for total in sums.values():
                total.div_(self._steps)
        measured = [
            Measured(name, parameter, self._gradients_of(name), placed(norms.get(name), parameter), dims.get(name, 1))
            for name, parameter in ((name, parameters[name]) for name in self._chosen)
        ]
        sharded = any(isinstance(parameters[name], DTensor) for name in self._chosen)
        with torch.no_grad():
            self.finish(measured, self._fingerprint, sharded)
        self.finished = True

    def _gradients_of(self, name: str) -> dict[str, Tensor]:
        return {data: sums[name] for data, sums in self._sums.items() if name in sums}

    def close(self) -> None:
        """Remove the hooks, also after a failed training run."""
        if self._inputs is not None:
            self._inputs.close()


def placed(norms: Tensor | None, parameter: Tensor) -> Tensor | None:
    """This rank's part of ``norms`` of the inputs of ``parameter``, whose first dimension FSDP2 splits.

    The norms ``[in]`` of a linear layer, of which only the outputs are split, are whole on every rank.
    """
    if norms is None or norms.dim() == 1 or not isinstance(parameter, DTensor):
        return norms
    return local(distribute_tensor(norms, parameter.device_mesh, parameter.placements, src_data_rank=None))


def check_module(module: pl.LightningModule) -> None:
    """Check that a module computes gradients.

    Raises:
        ValueError: naming its class.
    """
    if not isinstance(module, UnlearningModule):
        raise ValueError(
            f"{type(module).__name__} computes no gradients. Accepted: UnlearningModule and its methods, such as NPO."
        )


def measuring_module(module: UnlearningModule, attribution: Attribution) -> UnlearningModule:
    """A module with the model of ``module`` that descends the training loss of its data at a learning rate of 0.

    A row per loss is computed at every step, and no weight moves.

    Args:
        module: has the model, or says how it is built.
        attribution: says which streams are read.
    """
    streams = attribution.streams or {"forget": attribution.forget_stream}
    measured = UnlearningModule(
        module.spec,
        {data: losses_of(module.spec).learn(stream=stream) for data, stream in streams.items()},
        MinNorm(),
        optimizer=functools.partial(torch.optim.SGD, lr=0.0),
        schedule=Constant(),
        gradient_clip_val=None,
        micro_batch_size=module.micro_batch_size,
        on_nonfinite="raise",
    )
    measured.model = module.model
    return measured


def run_measurement(
    measurement: Measurement, measured: UnlearningModule, trainer: pl.Trainer | None, data: pl.LightningDataModule
) -> None:
    """Run one epoch, in which no weight changes.

    Args:
        measurement: gets the gradients.
        measured: a :func:`measuring_module`.
        trainer: where to run; by default the default device, without logs.
        data: data module with the streams.

    Raises:
        ValueError: if the Trainer takes no step.
        RuntimeError: if a gradient is not finite.
    """
    trainer = trainer or pl.Trainer(
        max_epochs=1, limit_val_batches=0, logger=False, enable_checkpointing=False, enable_model_summary=False
    )
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    callbacks.append(measurement)
    try:
        trainer.fit(measured, datamodule=data)
    finally:
        callbacks.remove(measurement)
        measurement.close()
    if not measurement.finished:
        raise ValueError(
            f"The Trainer took no step (max_epochs={trainer.max_epochs}, max_steps={trainer.max_steps}), so that there "
            "are no gradients to score with. Accepted: a Trainer that runs one epoch."
        )


def _model(module: pl.LightningModule) -> nn.Module:
    assert isinstance(module, UnlearningModule)
    assert module.model is not None
    return module.model
