"""Reference-aligned unlearning: a bounded divergence and the retain loss, descended together."""

from typing import Unpack

from unlearn_pl.combiners import Combiner, UPGrad
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule
from unlearn_pl.objectives import BoundedKLLoss, CausalLMLoss
from unlearn_pl.references import Reference


class RAUL(UnlearningModule):
    """RAUL: ``KL(q || (p + q) / 2)`` on forget and NLL on retain, by Jacobian descent with UPGrad.

    Args:
        model: what to unlearn from.
        held_out: align with ``reference``, a model that never saw the forget set, instead of the uniform distribution.
        combiner: UPGrad by default.
        reference: with ``held_out``, the model that never saw the forget set: ``FrozenReference(model=...)``. There is
            no default: None, which is an error with ``held_out``, is for none.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.

    References:
        Khosrowshahli et al., Multi-objective reference-aligned machine unlearning, arXiv 2606.00399. Our reading: the
        paper unlearns classifiers, and its text was not available in full.
    """

    def __init__(
        self,
        model: ModelLike,
        held_out: bool = False,
        combiner: Combiner | None = None,
        reference: Reference | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        objectives = {"forget": BoundedKLLoss(held_out=held_out), "retain": CausalLMLoss()}
        super().__init__(model, objectives, combiner or UPGrad(), reference, **options)
