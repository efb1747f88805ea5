"""Deep-supervised unlearning: lenses read nothing in the states of any layer, and retained states stay."""

from collections.abc import Sequence
from typing import Unpack

from unlearn_pl.combiners import Combiner, LinearRamp, Scalarization
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule
from unlearn_pl.objectives import HiddenDistanceLoss, TunedLensLoss
from unlearn_pl.references import FrozenReference, Reference


class TunedLens(UnlearningModule):
    """Minimize ``c_f * cross-entropy of random labels, by lenses (forget) + c_r * |h - h_ref| (retain)``.

    With ``s`` from 0 to 1 over ``steps``, ``c_f = forget_weight (1 - s / 4)`` and ``c_r = retain_weight s``. The
    authors train LoRA of rank 16 at 1e-3 for 256 steps of 32 (``experiments/methods/tunedlens.yaml``).

    Args:
        model: what to unlearn from.
        lens: file of the lenses, which ``unlearn-pl lens`` trains on the model before unlearning.
        layers: inner layers with a lens, entries of transformers' ``hidden_states``; the model's own output is added.
        retain_layers: layers whose retained states stay; those of ``layers`` by default (None).
        forget_weight: weight of the forget loss at the first step; three quarters of it from step ``steps`` on.
        retain_weight: weight of the retain loss from step ``steps`` on; 0 at the first.
        steps: of the two ramps.
        combiner: replaces the weighted sum; the weights and ``steps`` are then not used.
        reference: the reference model; by default (None) a frozen copy of the model.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.

    References:
        EleutherAI's code for unlearning; see :class:`~unlearn_pl.objectives.TunedLensLoss`. The lens: Belrose et al.,
        arXiv 2303.08112.
    """

    def __init__(
        self,
        model: ModelLike,
        lens: str = "lens.safetensors",
        layers: Sequence[int] = (8,),
        retain_layers: Sequence[int] | None = None,
        forget_weight: float = 5.0,
        retain_weight: float = 5.0,
        steps: int = 256,
        combiner: Combiner | None = None,
        reference: Reference | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        objectives = {"forget": TunedLensLoss(lens, layers), "retain": HiddenDistanceLoss(retain_layers or layers)}
        weighted = Scalarization(
            {
                "forget": LinearRamp(forget_weight, 0.75 * forget_weight, steps),
                "retain": LinearRamp(0.0, retain_weight, steps),
            }
        )
        super().__init__(model, objectives, combiner or weighted, reference or FrozenReference(), **options)
