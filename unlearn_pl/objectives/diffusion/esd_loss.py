"""ESD: predictions that are guided away from a concept."""

from typing import get_args

from torch import Tensor

from unlearn_pl.functional.diffusion import Anchor, denoising_error, esd_target
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import DenoisingView


class ESDLoss(Objective):
    """``|e(x_t, c, t) - (anchor - eta (e_ref(x_t, c, t) - e_ref(x_t, t)))|^2`` on the forget images.

    The method's other choice is which weights move: cross attention (ESD-x: ``TrainableParameters(["attn2"])``), or
    all others of the network (ESD-u: ``TrainableParameters(["unet"], exclude=["attn2"])``).

    Args:
        eta: strength of the guidance.
        anchor: ``null`` for the paper's formula, ``concept`` for that of the authors' code since 2025, where
            ``eta = 2`` is the paper's ``eta = 1``.
        stream: overrides ``forget``.

    Raises:
        ValueError: for an unknown anchor.

    References:
        Gandikota et al., Erasing Concepts from Diffusion Models, ICCV 2023, arXiv 2303.07345, section 4. The authors'
        ``x_t`` are partial samples of the model; here they are those of the stream's images.
    """

    stream = "forget"
    role = "forget"
    needs = frozenset({"ref_prediction", "ref_null_prediction"})
    mean_over = "sequences"

    def __init__(self, eta: float = 1.0, anchor: Anchor = "null", stream: str | None = None) -> None:
        if anchor not in get_args(Anchor):
            raise ValueError(f"anchor is {anchor!r}; accepted: {', '.join(get_args(Anchor))}.")
        super().__init__(stream)
        self.eta = eta
        self.anchor: Anchor = anchor

    def loss(self, view: DenoisingView) -> Tensor:
        """The mean squared error, ``[]``."""
        assert view.ref_prediction is not None
        assert view.ref_null_prediction is not None
        target = esd_target(view.ref_prediction, view.ref_null_prediction, self.eta, self.anchor)
        return denoising_error(view.prediction, target)
