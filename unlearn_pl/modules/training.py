"""How a module that trains is set up under Lightning: model, mask, optimizer, schedule, and what the Trainer allows."""

import functools
import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.strategies import DDPStrategy, ParallelStrategy
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from unlearn_pl.gradients import Row
from unlearn_pl.masks import Mask
from unlearn_pl.models import CausalLM
from unlearn_pl.modules.checks import check_trainer
from unlearn_pl.modules.language import LanguageModule
from unlearn_pl.optim import Constant, LinearWarmup, Schedule, mask_weight_decay


class TrainingModule(LanguageModule):
    """A language model that is optimised by hand, in steps of several micro-batches.

    Args:
        model: name or path of a Hugging Face model, a :class:`~unlearn_pl.models.CausalLM`, or a live model.
        mask: which weights may move.
        optimizer: called with the trained parameters; AdamW with lr 1e-5 and weight decay 0.01 by default.
        schedule: learning-rate factor per optimizer step; :class:`~unlearn_pl.optim.LinearWarmup` by default.
        gradient_clip_val: largest norm of the gradient; None for no clipping.
        accumulate_grad_batches: micro-batches per optimizer step; None to take it from the data module (else 1).
        max_new_tokens: length of generated answers in tests and predictions.
    """

    def __init__(
        self,
        model: CausalLM | str | nn.Module,
        mask: Mask | None = None,
        optimizer: OptimizerCallable | None = None,
        schedule: Schedule | None = None,
        gradient_clip_val: float | None = 1.0,
        accumulate_grad_batches: int | None = None,
        max_new_tokens: int = 200,
    ) -> None:
        super().__init__(model, max_new_tokens)
        if gradient_clip_val is not None and gradient_clip_val <= 0:
            raise ValueError(f"gradient_clip_val is {gradient_clip_val}; accepted: a positive norm, or None.")
        self.automatic_optimization = False
        self.mask = mask
        self.optimizer = optimizer or functools.partial(AdamW, lr=1e-5, weight_decay=0.01)
        self.schedule = schedule or LinearWarmup()
        self.gradient_clip_val = gradient_clip_val
        self.accumulate_grad_batches = accumulate_grad_batches

    @property
    def fitting(self) -> bool:
        """True inside ``Trainer.fit``."""
        return self._trainer is not None and self._trainer.state.fn == TrainerFn.FITTING

    def configure_callbacks(self) -> list[pl.Callback]:
        """Check the Trainer's flags: Lightning calls this hook before its own, less helpful, checks."""
        if self.fitting:
            check_trainer(self.trainer)
        return []

    def setup(self, stage: str) -> None:
        """Refuse a fractional number of micro-batches per step."""
        if stage == "fit":
            _ = self.micro_batches_per_step

    @property
    def micro_batches_per_step(self) -> int:
        """Micro-batches per optimizer step, as the module or the data module says it; 1 when neither does.

        Raises:
            ValueError: when both say it and differ.
        """
        of_data = getattr(self.datamodule, "micro_batches_per_step", None)
        given = self.accumulate_grad_batches
        if given is not None and of_data is not None and given != of_data:
            raise ValueError(
                f"accumulate_grad_batches={given} on the module contradicts the data module, whose batch_size and "
                f"micro_batch_size give {of_data}. Leave accumulate_grad_batches at None."
            )
        return given or of_data or 1

    def configure_model(self) -> None:
        """Make the model and freeze what the mask excludes."""
        super().configure_model()
        assert self.model is not None
        if self.mask is not None:
            self.mask.freeze(self.model)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer of the trained parameters, and its schedule over the data module's own number of steps.

        Raises:
            ValueError: when no parameter requires a gradient, or the optimizer cannot spare from its decay the
                weights that an element-wise mask keeps as they are.
        """
        assert self.model is not None
        trained = [p for p in self.model.parameters() if p.requires_grad]
        if not trained:
            raise ValueError("No parameter requires a gradient, so there is nothing to train. Check the mask.")
        optimizer = self.optimizer(trained)
        self.check_optimizer(optimizer)
        if self.mask is not None and self.mask.element_wise:
            mask_weight_decay(optimizer, self.mask, {p: name for name, p in self.model.named_parameters()})
        return {"optimizer": optimizer, "lr_scheduler": self.schedule.build(optimizer, *self._num_steps())}

    def check_optimizer(self, optimizer: Optimizer) -> None:
        """Refuse an optimizer that does not fit the module; a hook for subclasses."""

    def _num_steps(self) -> tuple[int, int]:
        """Optimizer steps per epoch and in total, as far as the Trainer's limits allow them."""
        trainer, size = self.trainer, self.micro_batches_per_step
        of_data = getattr(self.datamodule, "steps_per_epoch", None)
        if of_data is None:
            total = math.ceil(trainer.estimated_stepping_batches / size)
            return max(1, total // max(1, trainer.max_epochs or 1)), total
        limit = trainer.limit_train_batches
        batches = min(of_data * size, limit) if isinstance(limit, int) else int(of_data * size * limit)
        per_epoch = max(1, math.ceil(batches / size))
        limits = [per_epoch * trainer.max_epochs] if (trainer.max_epochs or -1) > 0 else []  # type: ignore[operator]
        limits += [trainer.max_steps] if trainer.max_steps > 0 else []
        if not limits and not isinstance(self.schedule, Constant):
            raise ValueError(
                f"max_epochs={trainer.max_epochs} and max_steps={trainer.max_steps} set no end, which "
                f"{type(self.schedule).__name__} needs to know. Set one of them, or use the schedule Constant."
            )
        return per_epoch, min(limits, default=per_epoch)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradient that the optimizer is about to use."""
        self.clip_gradients(optimizer, self.gradient_clip_val, "norm")

    @property
    def trained_parameters(self) -> list[nn.Parameter]:
        """The optimizer's parameters that require a gradient, in its order."""
        groups = self.optimizers().param_groups  # type: ignore[union-attr]
        return [p for group in groups for p in group["params"] if p.requires_grad]

    @property
    def trained_names(self) -> list[str]:
        """The names of ``trained_parameters``, as ``model.named_parameters()`` gives them."""
        assert self.model is not None
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        return [names[parameter] for parameter in self.trained_parameters]

    def apply_mask(self, row: Row) -> None:
        """Mask one gradient row over ``trained_parameters``, in place."""
        if self.mask is not None:
            self.mask.apply(self.trained_names, row)

    def without_sync(self) -> AbstractContextManager[None]:
        """Context in which backward passes leave gradients on their rank, where the strategy has one."""
        # Not called no_sync: Lightning takes every module with such a method for a DistributedDataParallel.
        strategy = self.trainer.strategy
        return strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else nullcontext()

    def reach_all(self) -> Tensor:
        """0, with a gradient of 0 for every trained parameter: DDP waits for all of them."""
        return 0 * torch.stack([p.flatten()[0].float() for p in self.trained_parameters]).sum()

    @property
    def gradients_are_views(self) -> bool:
        """True where ``.grad`` is memory of DDP's buckets, which the next backward writes again."""
        strategy = self.trainer.strategy
        return isinstance(strategy, DDPStrategy) and bool(strategy._ddp_kwargs.get("gradient_as_bucket_view"))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say which mask it was trained with; with LoRA, keep the adapters only, for the rest is loaded by name."""
        checkpoint["unlearn_pl_mask"] = None if self.mask is None else self.mask.fingerprint()
        if self.spec is None or self.spec.lora is None or self.model is None:
            return
        weights = checkpoint["state_dict"]
        checkpoint["state_dict"] = {k: v for k, v in weights.items() if "lora_" in k or not k.startswith("model.")}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to train on with another mask: the optimizer's moments would move weights that it keeps.

        Raises:
            ValueError: when the checkpoint was trained with another mask, or without one.
        """
        if not self.fitting or "unlearn_pl_mask" not in checkpoint:
            return
        before, now = checkpoint["unlearn_pl_mask"], None if self.mask is None else self.mask.fingerprint()
        if before != now:
            raise ValueError(
                f"The checkpoint was trained with {_mask_name(before)}, and would be resumed with {_mask_name(now)}: "
                "its optimizer would go on to move what is masked now. Resume with the same mask, or start a new run "
                "from the exported model."
            )


def _mask_name(fingerprint: str | None) -> str:
    return "no mask" if fingerprint is None else f"the mask {fingerprint[:12]}"
