"""Weights and optimizer states of a run: found out when they are not finite, and never written."""

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from unlearn_pl.engine import Step
from unlearn_pl.models.finite import named, nonfinite
from unlearn_pl.modules.fitted import FittedModule

FEWEST_STEPS = 20
"""Steps before a run may end because most of them were skipped."""


class Soundness:
    """Ends a run whose weights are not finite, or that does not move.

    The optimizer may write such weights from a finite gradient: a learning rate that overflows, moments in float16.
    They make the losses of the next step non-finite, so that looking at the weights after such a step, before a
    checkpoint and at the end costs nothing at the others.

    Args:
        module: the module that is fitted.
    """

    def __init__(self, module: FittedModule) -> None:
        self._module = module
        self.reset()

    def reset(self) -> None:
        """Begin a run."""
        self._steps = self._lost = self._met_before = 0

    def begin(self, resumes: bool) -> None:
        """Called before the first step.

        Raises:
            ValueError: if the run resumes from weights or optimizer states that are not finite.
        """
        self._met_before = self._module.descent.skipped["nonfinite"]
        if resumes and (bad := self._nonfinite()):
            raise ValueError(
                f"The checkpoint holds values that are NaN or infinite: {named(bad)}. Resume from an earlier one, or "
                "start again from the original model."
            )

    def after_step(self, step: Step) -> None:
        """Called after every step, taken or skipped.

        Raises:
            ValueError: if it has met weights that are not finite, or most steps were skipped for what is not finite.
        """
        met = self._module.descent.skipped["nonfinite"]
        self._steps += 1
        if met == self._met_before:
            return
        self._met_before = met
        self.check(f"before optimizer step {self._module.descent.windows_closed}")
        self._lost += not step.moves
        if self._steps >= FEWEST_STEPS and self._lost > self._steps / 2:
            raise ValueError(f"{self._most_were_skipped()} Losses of the last one: {_losses(step)}.")

    def end(self) -> None:
        """Called after the last step; warns of a short run in which most steps were skipped.

        Raises:
            ValueError: if the last step has made weights that are not finite.
        """
        self.check("in the last step")
        if self._lost > self._steps / 2:
            rank_zero_warn(self._most_were_skipped())

    def _most_were_skipped(self) -> str:
        return (
            f"{self._lost} of {self._steps} optimizer steps were skipped, because a loss or a gradient was not finite. "
            "Check the data, the objectives and the learning rate (on_nonfinite='raise' ends at the first such step), "
            "or use precision='bf16-mixed' or '32-true'."
        )

    def check(self, when: str) -> None:
        """Check the weights and the states of the optimizer; every rank must call it.

        Args:
            when: a phrase for the message.

        Raises:
            ValueError: naming what is NaN or infinite.
        """
        if bad := self._nonfinite():
            module = self._module
            rates = sorted({float(group["lr"]) for group in module.runtime.optimizer.param_groups})
            raise ValueError(
                f"{type(module.runtime.optimizer).__name__} has made values NaN or infinite {when}: {named(bad)}. The "
                f"learning rate is {', '.join(f'{rate:g}' for rate in rates)}, the precision "
                f"{str(module.trainer.precision)!r}. Nothing of this state is written: resume from the last checkpoint "
                "or start again, with a lower learning rate, or with precision='bf16-mixed' or '32-true'."
            )

    def _nonfinite(self) -> list[str]:
        return nonfinite(self._weights() | self._moments(), self._module.trainer.world_size > 1)

    def _weights(self) -> dict[str, Tensor]:
        assert self._module.model is not None
        return dict(self._module.model.named_parameters())

    def _moments(self) -> dict[str, Tensor]:
        runtime = self._module.runtime
        # After a forward without a backward pass, FSDP2's root holds whole weights, which are not the optimizer's.
        names = {parameter: name for name, parameter in self._weights().items()}
        return {
            f"{names.get(parameter, f'trained parameter {i}')} ({key})": value
            for i, parameter in enumerate(runtime.parameters)
            for key, value in sorted(runtime.optimizer.state.get(parameter, {}).items())
            if isinstance(value, Tensor)
        }


def _losses(step: Step) -> str:
    return ", ".join(f"{name} {loss:g}" for name, loss in zip(step.names, step.losses.tolist(), strict=True))
