"""L1 penalty on the weights, or on their change: unlearning that leaves a sparse model or a sparse task vector."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, distributed, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from unlearn_pl.masks import Mask, Pruned, chosen_names, some_of
from unlearn_pl.masks.placement import gathered, placed_like
from unlearn_pl.models.weight_layout import layer_weights
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.modules.num_steps import num_steps

RelativeTo = Literal["zero", "original"]
How = Literal["proximal", "subgradient"]
ORIGINAL = "l1_sparse_original"


class L1Sparse(pl.Callback):
    """Adds ``weight * |theta - theta_0|_1`` to every method, with ``theta_0`` 0 or the weights before training.

    ``proximal`` moves each weight by up to ``lr * gamma`` towards ``theta_0`` after every optimizer step, and not
    beyond: many weights end exactly there. ``subgradient`` adds ``weight * sign(theta - theta_0)`` to the gradient
    before the step, as the paper does; the weights then oscillate around ``theta_0``, and none ends there exactly. It
    never enters the Gramian: the objectives are combined, and the gradient is clipped, before.

    With momentum ``beta``, SGD multiplies a subgradient by ``1 / (1 - beta)``. The proximal step does the same, so that
    one ``weight`` means the same in both forms: ``gamma = weight / (1 - beta)``. Adam averages gradients instead, and
    divides them by their size: ``gamma = weight`` there, and the subgradient is another penalty.

    The penalty falls linearly over the optimizer steps of the run, to ``final_share`` of itself. It applies to the
    matrices and kernels of layers: not to biases, norms, embeddings, nor the output head of a language model. At the
    end, the share of these weights that are exactly at ``theta_0`` is logged and kept.

    Attributes:
        share: share of the penalized weights that are exactly at ``theta_0``, after training.

    Args:
        weight: strength of the penalty at the first step, positive.
        relative_to: ``zero`` for a sparse model; ``original`` for a sparse change of the model, of which a checkpoint
            then keeps the original weights, too.
        how: ``proximal`` or ``subgradient``.
        final_share: share of the penalty that is left after the last step, in [0, 1]; 1 for a constant penalty.
        include: regular expressions of the names of the parameters that are penalized.
        exclude: regular expressions of exceptions.

    Raises:
        ValueError: if an argument is out of range; before training, if an expression matches no parameter of a layer,
            nothing is left to penalize, or a mask keeps penalized weights fixed.

    References:
        Jia et al., Model Sparsity Can Simplify Machine Unlearning, NeurIPS 2023, arXiv 2304.04934, section 4
        (l1-sparse MU: subgradient on all parameters, decay per epoch); Parikh and Boyd, Proximal Algorithms,
        Foundations and Trends in Optimization 1, 2014, section 6.5.2.
    """

    def __init__(
        self,
        weight: float = 1e-3,
        relative_to: RelativeTo = "zero",
        how: How = "proximal",
        final_share: float = 0.0,
        include: Sequence[str] = (".*",),
        exclude: Sequence[str] = (),
    ) -> None:
        if not 0 < weight < float("inf"):
            raise ValueError(f"weight={weight}; accepted: a positive number.")
        if not 0 <= final_share <= 1:
            raise ValueError(f"final_share={final_share}; accepted: a share of the penalty in [0, 1].")
        for argument, value, accepted in (("relative_to", relative_to, RelativeTo), ("how", how, How)):
            if value not in get_args(accepted):
                raise ValueError(f"{argument} is {value!r}; accepted: {', '.join(get_args(accepted))}.")
        self.weight = weight
        self.relative_to = relative_to
        self.how = how
        self.final_share = final_share
        self.include = list(include)
        self.exclude = list(exclude)
        self._start_over()

    def _start_over(self) -> None:
        self.share = float("nan")
        self._original: dict[str, Tensor] = {}
        self._penalized: dict[str, nn.Parameter] = {}
        self._remove: Callable[[], None] = lambda: None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Reset; the checkpoint of a resumed run is read after this.

        Raises:
            ValueError: if the module is no :class:`~unlearn_pl.modules.UnlearningModule`.
        """
        if stage != "fit":
            return
        if not isinstance(pl_module, UnlearningModule):
            raise ValueError(f"L1Sparse needs an UnlearningModule; the module is a {type(pl_module).__name__}.")
        self._start_over()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the weights, keep the original ones, and follow the optimizer.

        Raises:
            ValueError: if nothing is left to penalize, or a mask keeps penalized weights fixed.
        """
        assert isinstance(pl_module, UnlearningModule)
        assert pl_module.model is not None
        self._penalized = self._chosen(pl_module.model, pl_module.mask)
        if self.relative_to == "original":
            before = self._original or {name: p.detach().clone() for name, p in self._penalized.items()}
            self._original = {name: placed_like(before[name], p.detach()) for name, p in self._penalized.items()}
        _, self._steps = num_steps(pl_module)
        (optimizer,) = trainer.optimizers
        if self.how == "proximal":
            handle = optimizer.register_step_post_hook(self._hook(trainer, self._shrink))
        else:
            handle = optimizer.register_step_pre_hook(self._hook(trainer, self._add_to_gradient))
        self._remove = handle.remove

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the share of weights at ``theta_0``, on all ranks."""
        self._remove()
        self.share = self.measure()
        place = "0" if self.relative_to == "zero" else "their original value"
        rank_zero_info(f"L1Sparse: {self.share:.1%} of the penalized weights are exactly at {place}.")

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the optimizer alone."""
        self._remove()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Store the original weights, whole, if the penalty is relative to them."""
        if self._original:
            checkpoint[ORIGINAL] = {name: gathered(weight) for name, weight in self._original.items()}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore the original weights.

        Raises:
            ValueError: if the penalty is relative to them, and the checkpoint does not hold them.
        """
        if self.relative_to != "original" or trainer.state.fn != TrainerFn.FITTING:
            return
        if ORIGINAL not in checkpoint:
            raise ValueError(
                "The checkpoint was trained without L1Sparse(relative_to='original') and does not hold the original "
                "weights. Resume without it, or start a new run."
            )
        self._original = dict(checkpoint[ORIGINAL])

    def strength(self, step: int) -> float:
        """``weight`` times what is left of it at an optimizer step, counted from 0."""
        progress = min(1.0, step / max(1, self._steps))
        return self.weight * (1 - (1 - self.final_share) * progress)

    @torch.no_grad()
    def measure(self) -> float:
        """Share of the penalized weights that are exactly at ``theta_0``; collective if they are sharded."""
        counts = torch.zeros(2, dtype=torch.float64)
        for name, parameter in self._penalized.items():
            difference = self._difference(name, parameter)
            counts += torch.tensor([int((difference == 0).sum()), difference.numel()], dtype=torch.float64)
        if any(isinstance(parameter, DTensor) for parameter in self._penalized.values()):
            counts = counts.to(next(iter(self._penalized.values())).device)
            distributed.all_reduce(counts)
        return float(counts[0] / counts[1])

    def _hook(self, trainer: pl.Trainer, act: Callable[[str, nn.Parameter, Mapping[str, Any], float], None]) -> Any:
        groups: dict[nn.Parameter, str] = {parameter: name for name, parameter in self._penalized.items()}

        @torch.no_grad()
        def hook(optimizer: Optimizer, *_: object) -> None:
            strength = self.strength(trainer.global_step)
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter in groups:
                        act(groups[parameter], parameter, group, strength)

        return hook

    def _shrink(self, name: str, parameter: nn.Parameter, group: Mapping[str, Any], strength: float) -> None:
        difference = self._difference(name, parameter)
        left = difference.abs().sub_(float(group["lr"]) * strength * amplification(group)).clamp_(min=0)
        change = left.mul_(difference.sign_())
        _local(parameter).copy_(self._origin(name) + change if self._original else change)

    def _add_to_gradient(self, name: str, parameter: nn.Parameter, group: Mapping[str, Any], strength: float) -> None:
        if parameter.grad is not None:
            _local(parameter.grad).add_(self._difference(name, parameter).sign_(), alpha=strength)

    def _difference(self, name: str, parameter: Tensor) -> Tensor:
        """This rank's part of ``theta - theta_0``, in fp32 or better."""
        weights = _exact(_local(parameter.detach()))
        return weights - self._origin(name) if self._original else weights.clone()

    def _origin(self, name: str) -> Tensor:
        original = self._original[name]
        if original.device != self._penalized[name].device:
            original = self._original[name] = original.to(self._penalized[name].device)
        return _exact(_local(original))

    def _chosen(self, model: nn.Module, mask: Mask | None) -> dict[str, nn.Parameter]:
        chosen = chosen_names(layer_weights(model), self.include, self.exclude)
        parameters = {name: p for name, p in model.named_parameters() if name in chosen}
        if mask is not None:
            _check_mask(mask, parameters)
        trained = {name: p for name, p in parameters.items() if p.requires_grad}
        if not trained:
            raise ValueError(
                f"include={self.include} and exclude={self.exclude} leave L1Sparse no trained weights of layers."
            )
        return trained


def amplification(group: Mapping[str, Any]) -> float:
    """What momentum multiplies a constant gradient by, in the long run.

    Args:
        group: parameter group of an optimizer.
    """
    momentum = float(group.get("momentum") or 0.0)
    return (1 - float(group.get("dampening") or 0.0)) / (1 - momentum) if momentum else 1.0


def _check_mask(mask: Mask, parameters: Mapping[str, nn.Parameter]) -> None:
    if isinstance(mask, Pruned):
        return  # what it keeps fixed is 0, also before training
    fixed = [name for name, p in parameters.items() if not p.requires_grad or not _all_may_change(mask, name, p)]
    if fixed:
        raise ValueError(
            f"The mask {type(mask).__name__} keeps weights fixed that L1Sparse would shrink: {some_of(fixed)}. "
            "Accepted: no mask, PrunedWeights, or include and exclude for parameters of which all weights may change."
        )


def _all_may_change(mask: Mask, name: str, parameter: Tensor) -> bool:
    elements = mask.elements(name, parameter)
    return elements is None or bool(_local(elements).all())


def _exact(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
