"""Membership attacks that cost more than the forward of an evaluation."""

from collections.abc import Sequence

import lightning.pytorch as pl
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn

from unlearn_pl.functional import Compat
from unlearn_pl.metrics import GradientNormAttack, PerExampleMetric, ReferenceAttack, ShadowAttack
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
    - ``likelihood_ratio``: how far the model's confidence in an example is from that of shadow models, example by
      example, :func:`~unlearn_pl.functional.likelihood_ratio_attack` (LiRA). Costs a model in memory, and a forward per
      batch, for each of them. Retain models of several seeds are such models. Without any, membership is judged by
      comparing examples with each other, which finds a leak of the whole set and may miss that of a single example.

    Args:
        reference: a model with the same tokenizer that has seen neither members nor non-members: a name or path, a
            :class:`~unlearn_pl.models.CausalLM`, or a live model. A live one is moved to the device of the evaluation,
            and otherwise left as it is. None for no such attack.
        gradient_norm: whether to run this attack.
        shadows: at least two models with the same tokenizer that were trained without members and non-members; none for
            no such attack.
        shadows_within: at least two that were trained with both; none for the attack without such models.

    Raises:
        ValueError: if there is a single shadow model of a kind, or only models that were trained with the examples.
    """

    def __init__(
        self,
        reference: CausalLM | str | nn.Module | None = None,
        gradient_norm: bool = False,
        shadows: Sequence[CausalLM | str | nn.Module] = (),
        shadows_within: Sequence[CausalLM | str | nn.Module] = (),
    ) -> None:
        if 1 in (len(shadows), len(shadows_within)) or (shadows_within and not shadows):
            raise ValueError(
                f"There are {len(shadows)} shadows and {len(shadows_within)} shadows_within; accepted are none or at "
                "least two of each, and none of the latter without the former."
            )
        self.reference = reference
        self.gradient_norm = gradient_norm
        self.shadows = list(shadows)
        self.shadows_within = list(shadows_within)
        self._built: nn.Module | None = None
        self._shadows: tuple[list[nn.Module], list[nn.Module]] | None = None
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
        if self.shadows and self._shadows is None:
            without, within = ([_built(m, pl_module) for m in part] for part in (self.shadows, self.shadows_within))
            self._shadows = without, within
        if self.reference is not None and self._built is None:
            self._built = _built(self.reference, pl_module)

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
        if self._shadows is not None:
            without, within = ([model.to(self._attacked.device) for model in part] for part in self._shadows)
            metrics["likelihood_ratio"] = ShadowAttack(without, within, context)
        return metrics


def _built(model: CausalLM | str | nn.Module, pl_module: ModelModule) -> nn.Module:
    given = CausalLM(model) if isinstance(model, str) else model
    built = given.build() if isinstance(given, CausalLM) else given
    known, needed = built.get_input_embeddings().num_embeddings, len(pl_module.load_tokenizer())  # type: ignore[operator]
    if known < needed:
        raise ValueError(
            f"The reference model has {known} token embeddings, but the tokenizer has {needed} tokens; use a reference "
            "model with the same tokenizer."
        )
    return built
