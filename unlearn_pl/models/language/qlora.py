"""Low-rank adapters on 4-bit weights (QLoRA)."""

from typing import TYPE_CHECKING

from torch import nn

from unlearn_pl.models.language.lora import LoRA
from unlearn_pl.models.quantized_share import check_quantized_share

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import BitsAndBytesConfig


class QLoRA(LoRA):
    """LoRA on frozen weights in 4-bit NormalFloat, with quantized constants, computed in bfloat16.

    The arguments are those of :class:`LoRA`.

    References:
        Dettmers et al., "QLoRA: Efficient Finetuning of Quantized LLMs", 2023, section 3.
    """

    def apply(self, model: nn.Module) -> "PeftModel":
        """See :meth:`LoRA.apply`.

        Raises:
            ValueError: also if less than three quarters of the weights in the model's layers are in 4 bits, or if there
                is an initializer.
        """
        if self.initializer is not None:
            raise ValueError(
                f"{type(self.initializer).__name__} takes the adapters' product off the weights, and weights in 4 bits "
                "would lose it to rounding. Accepted: LoRA(initializer=...), or QLoRA() without one."
            )
        check_quantized_share("QLoRA", model, " With LoRA(), the weights stay in their own precision.")
        for module in model.modules():
            if hasattr(module, "support_avx512bf16_for_cpu"):
                # On some CPUs, a forward in evaluation mode (that of AdapterReference) would otherwise convert the
                # weights to an inference layout, and gradients through them would be wrong from then on.
                module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]
        return super().apply(model)

    def quantization(self) -> "BitsAndBytesConfig":
        """The options with which transformers loads the weights.

        Raises:
            ValueError: if bitsandbytes is not installed.
        """
        try:
            import bitsandbytes
        except ImportError as error:
            raise ValueError(
                "QLoRA needs the package bitsandbytes (pip install bitsandbytes), which exists for CUDA GPUs and some "
                "other devices. Without it, use LoRA()."
            ) from error
        import torch
        from transformers import BitsAndBytesConfig

        assert bitsandbytes
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
