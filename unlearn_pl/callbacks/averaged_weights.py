"""Weight averaging: the mean of the weights over training, instead of the last weights."""

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from unlearn_pl.masks.placement import gathered, placed_like

KEY = "averaged_weights"


class AveragedWeights(pl.Callback):
    """``theta_mean = 1/n sum_i theta_i`` over every ``every_n_steps``-th optimizer step from ``start_step`` on.

    Training continues with its own weights. Validation uses the mean, and so does everything after training: the
    export of :class:`SavePretrained`, and the evaluation of checkpoints. A resumed run restores both. Costs a copy of
    the trained weights, in fp32 or better.

    Lightning's ``WeightAveraging`` also averages, but copies the whole module with its frozen reference model.

    Args:
        start_step: optimizer steps before the first one that counts.
        every_n_steps: one step in so many counts.

    Raises:
        ValueError: if a number is out of range.

    References:
        Fan et al., Towards LLM Unlearning Resilient to Relearning Attacks, ICML 2025, arXiv 2502.05374 (WA: from step
        100, every 5); Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, UAI 2018.
    """

    def __init__(self, start_step: int = 100, every_n_steps: int = 5) -> None:
        if start_step < 0 or every_n_steps < 1:
            raise ValueError(
                f"start_step={start_step} and every_n_steps={every_n_steps}; accepted are 0 or more, and 1 or more."
            )
        self.start_step = start_step
        self.every_n_steps = every_n_steps
        self._start_over()

    def _start_over(self) -> None:
        self.count = 0
        self._others: dict[str, Tensor] = {}  # the mean; the weights, while the mean is in the model
        self._mean_is_in_model = False
        self._latest_step = 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Reset; the checkpoint of a resumed run is read after this."""
        if stage == "fit":
            self._start_over()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Continue after the steps of the checkpoint."""
        self._latest_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the weights to the mean, if an optimizer step was taken and it counts."""
        step = trainer.global_step
        if step == self._latest_step:
            return
        self._latest_step = step
        if step > self.start_step and (step - self.start_step - 1) % self.every_n_steps == 0:
            self._count_in(pl_module)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Swap the mean into the model."""
        if not self._mean_is_in_model:  # it is, after training
            self._swap(pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Swap the weights back, to continue training."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._swap(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the mean in the model."""
        if not self.count:
            rank_zero_warn(
                f"AveragedWeights has averaged nothing: training ended after {trainer.global_step} steps, and "
                f"start_step is {self.start_step}. The weights are those of the last step."
            )
        self._swap(pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Store the mean as ``state_dict``, and beside it the weights with which training continues; both whole."""
        if not self.count:
            return
        trained = _trained(pl_module)
        in_model = {name: parameter.detach() for name, parameter in trained.items()}
        weights, means = (self._others, in_model) if self._mean_is_in_model else (in_model, self._others)
        whole = {name: gathered(mean) for name, mean in means.items()}
        kept = {name: gathered(weight) for name, weight in weights.items()}
        checkpoint[KEY] = {"count": self.count, "weights": kept, "means": whole}
        names = {parameter: name for name, parameter in trained.items()}
        saved = checkpoint["state_dict"]
        for name, parameter in pl_module.named_parameters(remove_duplicate=False):  # tied weights have two names
            if parameter in names:
                as_saved = means if isinstance(saved.get(name), DTensor) else whole
                saved[name] = as_saved[names[parameter]].to(parameter.dtype)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore the mean and the weights with which training continues; in evaluation, the mean alone."""
        if KEY not in checkpoint or trainer.state.fn != TrainerFn.FITTING:
            return
        kept, trained = checkpoint[KEY], _trained(pl_module)
        self.count = kept["count"]
        for name, parameter in trained.items():
            exact = torch.promote_types(parameter.dtype, torch.float32)
            self._others[name] = placed_like(kept["means"][name].to(exact, copy=True), parameter)
            with torch.no_grad():
                parameter.copy_(placed_like(kept["weights"][name], parameter))

    @torch.no_grad()
    def _count_in(self, pl_module: pl.LightningModule) -> None:
        self.count += 1
        for name, parameter in _trained(pl_module).items():
            weights = parameter.detach().to(torch.promote_types(parameter.dtype, torch.float32))
            if self.count == 1:
                self._others[name] = weights.clone()
            else:
                self._others[name] += (weights - self._others[name]) / self.count

    @torch.no_grad()
    def _swap(self, pl_module: pl.LightningModule) -> None:
        if not self.count:
            return
        for name, parameter in _trained(pl_module).items():
            other = self._others[name]
            self._others[name] = parameter.detach().to(other.dtype, copy=True)
            parameter.copy_(other)
        self._mean_is_in_model = not self._mean_is_in_model


def _trained(pl_module: pl.LightningModule) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in pl_module.named_parameters() if parameter.requires_grad}
