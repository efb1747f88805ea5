"""Membership attacks that cost more than the forward of an evaluation."""

import lightning.pytorch as pl
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn

from unlearn_pl.functional import Compat
from unlearn_pl.metrics import GradientNormAttack, PerExampleMetric, ReferenceAttack
from unlearn_pl.models import CausalLM
from unlearn_pl.modules import ModelModule
from unlearn_pl.recording import Recorded


class MoreAttacks(Recorded):
    """Further attacks of an evaluation, in ``test``; an argument of the evaluation.

    - ``reference``: the loss minus that of a reference model, :func:`~unlearn_pl.functional.reference_attack`. Costs
      one more model in memory, and one more forward per batch of members and non-members.
    - ``gradient_norm``: the norm of the gradient of the loss, :func:`~unlearn_pl.functional.gradient_norm_attack`.
      Costs a forward and a backward for each member and non-member, one at a time, and one more copy of the trained
      weights. Does not support sharded models.

    Args:
        reference: a model with the same tokenizer that has seen neither members nor non-members: a name or path, a
            :class:`~unlearn_pl.models.CausalLM`, or a live model. A live one is moved to the device of the evaluation,
            and otherwise left as it is. None for no such attack.
        gradient_norm: whether to run this attack.
    """

    def __init__(self, reference: CausalLM | str | nn.Module | None = None, gradient_norm: bool = False) -> None:
        self.reference = reference
        self.gradient_norm = gradient_norm
        self._built: nn.Module | None = None
        self._attacked: ModelModule | None = None

    def prepare(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Load the reference model, and check that the attacks are possible.

        Raises:
            ValueError: if they are not.
        """
        if not isinstance(pl_module, ModelModule):
            raise ValueError(f"MoreAttacks need a ModelModule, but the module is a {type(pl_module).__name__}.")
        if self.gradient_norm and isinstance(trainer.strategy, ModelParallelStrategy):
            raise ValueError("gradient_norm=True needs the whole model on a device; accepted are one device, and DDP.")
        self._attacked = pl_module
        if self.reference is None or self._built is not None:
            return
        given = CausalLM(self.reference) if isinstance(self.reference, str) else self.reference
        model = given.build() if isinstance(given, CausalLM) else given
        known, needed = model.get_input_embeddings().num_embeddings, len(pl_module.load_tokenizer())  # type: ignore[operator]
        if known < needed:
            raise ValueError(
                f"The reference model has {known} token embeddings, but the tokenizer has {needed} tokens; use a "
                "reference model with the same tokenizer."
            )
        self._built = model

    def metrics(self, trainer: pl.Trainer, compat: Compat) -> dict[str, PerExampleMetric]:
        """A new metric per attack, by the name of the attack.

        Args:
            trainer: about to evaluate.
            compat: whose conventions to follow.

        Raises:
            ValueError: if the model has no trained parameter, and the norm of its gradient is asked for.
        """
        assert self._attacked is not None
        assert self._attacked.model is not None
        context = trainer.precision_plugin.forward_context
        metrics: dict[str, PerExampleMetric] = {}
        if self._built is not None:
            metrics["reference"] = ReferenceAttack(self._built.to(self._attacked.device), context)
        if self.gradient_norm:
            metrics["gradient_norm"] = GradientNormAttack(self._attacked.model, compat, context)
        return metrics
