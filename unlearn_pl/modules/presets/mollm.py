"""MOLLM: a bounded forget loss, KL to the reference model and the retain loss, descended together."""

from collections.abc import Mapping, Sequence
from typing import Unpack

from unlearn_pl.combiners import Combiner, GoalBarrier, MinNorm
from unlearn_pl.goals import Goal
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.kind_losses import losses_of
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule
from unlearn_pl.objectives import Objective, UnlearningCrossEntropyLoss
from unlearn_pl.references import FrozenReference, Reference


class MOLLM(UnlearningModule):
    """Multi-objective unlearning: UCE(forget), KL(reference || model) and NLL(retain), by a common descent direction.

    This is our reading of the paper, whose code was not released: forward KL to the reference model, and exact
    min-norm weights on the Gramian of normalized gradients. :class:`~unlearn_pl.combiners.DualBasis` is our reading
    of its "dual space" direction.

    Of a diffusion model, the three losses are :class:`~unlearn_pl.objectives.MisalignLoss`,
    :class:`~unlearn_pl.objectives.PredictionConsistencyLoss` and :class:`~unlearn_pl.objectives.DenoisingLoss`, and
    no loss counts as satisfied.

    Args:
        model: what to unlearn from.
        combiner: by default :class:`~unlearn_pl.combiners.GoalBarrier` where ``goals`` bound the forget objective, else
            ``MinNorm(satisfied={"forget": 0.1})``, the paper's rule: the forget loss leaves the solve while it is
            satisfied. The studies in ``experiments/README.md`` chose both; goals need no tuning.
        reference: the reference model; by default (None) a frozen copy of the model. With LoRA: ``AdapterReference()``.
        normal_stream: stream of the KL objective; by default ``normal`` when the data has one, else ``retain``.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.

    Example:
        >>> from unlearn_pl.goals import AtLeast, AtMost
        >>> from unlearn_pl.models import tiny_llama
        >>> goals = {"forget": AtMost("holdout"), "retain": AtLeast(share=0.9)}
        >>> [type(MOLLM(tiny_llama(32), goals=given).combiner).__name__ for given in (goals, None)]
        ['GoalBarrier', 'MinNorm']

    References:
        Pan et al., Multi-objective large language model unlearning, arXiv 2412.20412.
    """

    def __init__(
        self,
        model: ModelLike,
        combiner: Combiner | None = None,
        reference: Reference | None = None,
        normal_stream: str | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        self.normal_stream = normal_stream
        losses = losses_of(model)
        objectives = {
            "forget": losses.forget(),
            "normal": losses.keep(stream=normal_stream or "retain"),
            "retain": losses.learn(),
        }
        super().__init__(
            model,
            objectives,
            combiner or self._default_combiner(options.get("goals"), objectives["forget"]),
            reference or FrozenReference(),
            **options,
        )

    @staticmethod
    def _default_combiner(goals: Mapping[str, Goal] | None, forget: Objective) -> Combiner:
        if "forget" in (goals or {}):
            return GoalBarrier()
        return MinNorm(satisfied={"forget": 0.1} if isinstance(forget, UnlearningCrossEntropyLoss) else None)

    def streams_to_load(self, available: Sequence[str]) -> list[str]:
        """Read the KL objective from the ``normal`` stream when the data has one and none was named."""
        if self.normal_stream is None and "normal" in self.objectives:
            self.objectives["normal"].stream = "normal" if "normal" in available else "retain"
        return super().streams_to_load(available)

    def setup(self, stage: str) -> None:
        """As in :class:`UnlearningModule`, for data modules that were told which streams to load, too."""
        if (data := self.stream_data) is not None:
            self.streams_to_load(data.streams)
        super().setup(stage)
