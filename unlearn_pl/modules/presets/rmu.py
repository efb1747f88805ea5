"""Representation misdirection: hidden states of forget texts pushed toward a random direction."""

from typing import Unpack

from unlearn_pl.combiners import Combiner, Scalarization
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule
from unlearn_pl.objectives import HiddenStateLoss, RMULoss
from unlearn_pl.references import FrozenReference, Reference


class RMU(UnlearningModule):
    """RMU: minimize ``forget_weight * |h - c u|^2 (forget) + retain_weight * |h - h_ref|^2 (retain)`` at one layer.

    The paper trains few weights: ``mask=TrainableParameters([...])`` with the ``down_proj`` of the layer and the two
    before it (``experiments/methods/rmu_wmdp.yaml``). An :class:`~unlearn_pl.objectives.AdaptiveRMULoss` needs no
    coefficient.

    Weights above the layer get no gradient. With all of them trained, a run under ``fsdp2`` cannot be resumed, because
    PyTorch requires optimizer state for each of them; a mask that excludes them avoids this.

    Args:
        model: what to unlearn from.
        layer: entry of transformers' ``hidden_states``; 8 is the output of the module ``model.layers.7``, and the last
            entry comes after the final norm: choose an inner layer.
        coefficient: length ``c`` of the target: 2 on TOFU, 6.5 for zephyr-7b on WMDP.
        forget_weight: weight of the forget loss.
        retain_weight: weight of the retain loss.
        combiner: replaces the weighted sum; the two weights are then not used.
        reference: the reference model; by default (None) a frozen copy of the model.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.

    References:
        Li et al., The WMDP benchmark: measuring and reducing malicious use with unlearning, ICML 2024,
        arXiv 2403.03218.
    """

    def __init__(
        self,
        model: ModelLike,
        layer: int = 8,
        coefficient: float = 2.0,
        forget_weight: float = 1.0,
        retain_weight: float = 1.0,
        combiner: Combiner | None = None,
        reference: Reference | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        objectives = {"forget": RMULoss(layer, coefficient), "retain": HiddenStateLoss(layer)}
        weighted = Scalarization({"forget": forget_weight, "retain": retain_weight})
        super().__init__(model, objectives, combiner or weighted, reference or FrozenReference(), **options)
