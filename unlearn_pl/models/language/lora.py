"""Low-rank adapters (LoRA)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from unlearn_pl.recording import Recorded

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class LoRA(Recorded):
    """Low-rank adapters: ``W + alpha/r * B A`` with ``W`` frozen and ``B`` starting at 0.

    Args:
        r: rank of the adapters.
        alpha: numerator of their scale.
        dropout: probability of dropping an input of the adapters while training.
        target_modules: names of the linear layers with adapters; all except the output head by default.

    References:
        Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021, section 4.1.
    """

    def __init__(
        self,
        r: int = 16,
        alpha: int = 32,
        dropout: float = 0.0,
        target_modules: Sequence[str] | str = "all-linear",
    ) -> None:
        self.r = r
        self.alpha = alpha
        self.dropout = dropout
        self.target_modules = target_modules

    def apply(self, model: "PreTrainedModel") -> "PeftModel":
        """Freeze ``model`` and add adapters.

        Raises:
            ValueError: if peft is not installed, or no layer is named in ``target_modules``.
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
            task_type="CAUSAL_LM",
        )
        return get_peft_model(model, config)
