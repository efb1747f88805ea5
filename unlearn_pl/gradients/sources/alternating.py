"""Several gradient sources in turn."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from unlearn_pl.gradients.base import GradientSource
from unlearn_pl.gradients.gradients import Gradients
from unlearn_pl.gradients.runtime import Runtime
from unlearn_pl.gradients.sources.first_order import FirstOrder
from unlearn_pl.gradients.summed_gradient import SummedGradient
from unlearn_pl.gradients.window import Window
from unlearn_pl.gradients.zeroth_order.zeroth_order import ZerothOrder


class Alternating(GradientSource):
    """One source for a number of optimizer steps, then the next one, and so on in turn.

    The hybrid of first and zeroth order ends in zeroth order, which its authors hold to be what makes forgetting
    robust; a run of another length warns.

    Args:
        sources: at least two; :class:`FirstOrder` and :class:`ZerothOrder` by default.
        period: optimizer steps of each.

    Raises:
        ValueError: if there are fewer than two sources, or ``period`` is not positive.

    References:
        Downgrade to Upgrade: Optimizer Simplification Enhances Robustness in LLM Unlearning, ICLR 2026,
        arXiv 2510.00761.
    """

    def __init__(self, sources: list[GradientSource] | None = None, period: int = 20) -> None:
        self.sources = [FirstOrder(), ZerothOrder()] if sources is None else sources
        if len(self.sources) < 2:
            raise ValueError(f"sources are {self.sources}; accepted: two or more.")
        if period < 1:
            raise ValueError(f"period is {period}; accepted: 1 or more optimizer steps.")
        self.period = period
        self._measured_by = self.sources[0]
        self.keeps_rows = all(source.keeps_rows for source in self.sources)
        self.whole_rows = all(source.whole_rows for source in self.sources)
        self.every_metric = all(source.every_metric for source in self.sources)
        self.every_scope = all(source.every_scope for source in self.sources)
        self.plain = all(source.plain for source in self.sources)
        self.scatters = any(source.scatters for source in self.sources)
        self.copies = max(source.copies for source in self.sources)
        self.backpropagates = any(source.backpropagates for source in self.sources)
        known = [source.num_directions for source in self.sources if source.num_directions is not None]
        self.num_directions = min(known, default=None)

    @property
    def turns(self) -> Sequence[GradientSource]:
        """The sources."""
        return [turn for source in self.sources for turn in source.turns]

    def at(self, step: int) -> GradientSource:
        """The source of an optimizer step.

        Args:
            step: number of steps before it.
        """
        return self.sources[step // self.period % len(self.sources)]

    def measure(self, window: Window, runtime: Runtime) -> Gradients:
        """As the source of this step."""
        self._measured_by = self.at(window.step)
        return self._measured_by.measure(window, runtime)

    def weighted_sum(self, window: Window, runtime: Runtime, weights: Mapping[str, float]) -> SummedGradient:
        """As the source of this step."""
        return self.at(window.step).weighted_sum(window, runtime, weights)

    def concerns(self, optimizer: Optimizer, steps: int | None) -> Sequence[str]:
        """Those of the sources, and a warning if the run ends with backpropagation although a source does without."""
        found = [concern for source in self.sources for concern in source.concerns(optimizer, steps)]
        forward_only = [type(source).__name__ for source in self.sources if not source.backpropagates]
        if steps and forward_only and (last := self.at(steps - 1)).backpropagates:
            turn = self.period * len(self.sources)
            found.append(
                f"The run has {steps} steps, of which the last ones are by {type(last).__name__}, not by "
                f"{forward_only[-1]}, whose steps are meant to come last. With sources in the order "
                f"{[type(source).__name__ for source in self.sources]}, take a multiple of {turn} steps, or another "
                "period."
            )
        return found

    def observe(self, norms: Mapping[str, float]) -> None:
        """Passed on to the source that has measured them."""
        self._measured_by.observe(norms)

    def reset(self) -> None:
        """Reset all sources."""
        for source in self.sources:
            source.reset()

    def state_dict(self) -> dict[str, Any]:
        """Those of the sources."""
        return {"sources": [source.state_dict() for source in self.sources]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from ``state``."""
        for source, kept in zip(self.sources, state["sources"], strict=True):
            source.load_state_dict(kept)
