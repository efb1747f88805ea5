"""Low-rank adapters (LoRA)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning.pytorch.utilities import rank_zero_info
from torch import nn

from unlearn_pl.models.adapter_file import AdapterFile
from unlearn_pl.models.weight_layout import layer_weights
from unlearn_pl.recording import Recorded

if TYPE_CHECKING:
    from peft import PeftModel


class LoRA(Recorded):
    """Low-rank adapters: ``W + alpha/r * B A`` with ``W`` frozen and ``B`` starting at 0.

    Args:
        r: rank of the adapters.
        alpha: numerator of their scale.
        dropout: probability of dropping an input of the adapters while training.
        target_modules: names of the linear layers with adapters; all except the output head by default. Of a
            text-to-image model, those of its network.
        initializer: what the adapters begin with, instead of ``B = 0`` and a random ``A``.

    References:
        Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021, section 4.1.
    """

    def __init__(
        self,
        r: int = 16,
        alpha: int = 32,
        dropout: float = 0.0,
        target_modules: Sequence[str] | str = "all-linear",
        initializer: AdapterFile | None = None,
    ) -> None:
        self.r = r
        self.alpha = alpha
        self.dropout = dropout
        self.target_modules = target_modules
        self.initializer = initializer

    def apply(self, model: nn.Module) -> "PeftModel":
        """Freeze ``model`` and add adapters.

        Not every layer can have some: neither experts that are stored as one parameter nor layers that
        ``target_modules`` does not name. The share of the weights in layers with adapters is logged.

        Raises:
            ValueError: if peft is not installed, no layer is named in ``target_modules``, or the initializer was made
                for another model.
        """
        try:
            from peft import LoraConfig, get_peft_model
        except ImportError as error:
            raise ValueError("LoRA needs the package peft: pip install 'unlearn_pl[lora]'") from error
        targets = self.target_modules if isinstance(self.target_modules, str) else list(self.target_modules)
        config = LoraConfig(
            r=self.r,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=targets,
            task_type="CAUSAL_LM" if hasattr(model, "prepare_inputs_for_generation") else None,
        )
        if self.initializer is not None:
            self.initializer.check(model, self.r)
        adapted = get_peft_model(model, config)
        if self.initializer is not None:
            self.initializer.start(adapted)
        _report_share(adapted)
        return adapted


def _report_share(adapted: "PeftModel") -> None:
    """Log the share of the weights in layers that have adapters."""
    own, marked = "lora_", ".base_layer."
    weights = {name: count for name, count in layer_weights(adapted).items() if own not in name}
    missed = sorted((name for name in weights if marked not in name), key=lambda name: (-weights[name], name))
    reached = sum(count for name, count in weights.items() if marked in name)
    if missed and reached:
        share = reached / sum(weights.values())
        rank_zero_info(
            f"Adapters are on layers with {share:.1%} of the weights in layers; the largest without one: {missed[0]}."
        )
